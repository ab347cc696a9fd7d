"""The layers of the frozen towers: the results of torch and transformers, and gradients as exact as the precision is."""

import pytest
import torch
from torch.nn import functional as F
from transformers.activations import QuickGELUActivation

from peclip.model.fast.frozen import QuickGELU, attention, is_faster_here


def _inputs(length: int) -> list[torch.Tensor]:
    torch.manual_seed(length)
    # As CLIP's layers hand them over: heads are a view of the width.
    return [torch.randn(3, length, 4, 16, dtype=torch.bfloat16).transpose(1, 2).requires_grad_() for _ in range(4)]


@pytest.mark.parametrize("length", [1, 7, 39])
@pytest.mark.parametrize("masked", ["no", "causal", "mask"])
def test_values_are_those_of_the_fused_attention_and_gradients_those_of_full_precision(length, masked):
    query, key, value, grad = _inputs(length)
    mask = torch.rand(3, 1, length, length).lt(0.7) | torch.eye(length).bool() if masked == "mask" else None
    causal = masked == "causal"
    out = attention(query, key, value, mask, scaling=0.25, causal=causal)
    fused = F.scaled_dot_product_attention(query, key, value, mask, scale=0.25, is_causal=causal)
    assert torch.allclose(out, fused.transpose(1, 2), atol=1e-2)
    mine = torch.autograd.grad(out, (query, key, value), grad.transpose(1, 2))

    exact = [tensor.detach().float().requires_grad_() for tensor in (query, key, value)]
    reference = F.scaled_dot_product_attention(*exact, mask, scale=0.25, is_causal=causal)
    true = torch.autograd.grad(reference, exact, grad.float())
    for ours, wanted in zip(mine, true, strict=True):
        # bf16 rounds to 0.4 %.
        assert (ours.float() - wanted).norm() <= 0.01 * wanted.norm() + 1e-3


def test_without_gradients_it_is_the_fused_attention_to_the_bit():
    query, key, value, _ = _inputs(39)
    with torch.no_grad():
        assert not is_faster_here(query)
        out = attention(query, key, value, None, scaling=0.25)
    assert is_faster_here(query)
    assert torch.equal(out.transpose(1, 2), F.scaled_dot_product_attention(query, key, value, scale=0.25))


def test_quick_gelu_is_that_of_transformers_with_its_gradient():
    x = torch.randn(5, 7, dtype=torch.float64, requires_grad=True)
    assert torch.equal(QuickGELU()(x), QuickGELUActivation()(x))
    with torch.no_grad():
        assert torch.equal(QuickGELU()(x), QuickGELUActivation()(x))
    assert torch.autograd.gradcheck(QuickGELU(), x)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_quick_gelu_has_its_gradient_where_torch_compiles_it(backend):
    """Torch 2.11 gave none, without a word, to a result that a function writes in place."""
    x = torch.randn(5, 7, requires_grad=True)
    compiled = torch.compile(QuickGELU(), backend=backend, fullgraph=True)
    grads = [torch.autograd.grad(layer(x).square().sum(), x)[0] for layer in (compiled, QuickGELUActivation())]
    assert torch.allclose(*grads, atol=1e-5)
