"""The recurrence of the TDA: torch's GRU in parameters and values, eager and compiled."""

import pytest
import torch
from einops import rearrange
from torch import nn

from peclip.model.fast.gru import GRU, Unrolled


@pytest.fixture
def pair():
    """The same weights twice, larger than at the start of a training."""
    torch.manual_seed(0)
    mine, like = GRU(6), nn.GRU(6, 6, batch_first=True)
    for weight in like.parameters():
        nn.init.normal_(weight, std=0.5)
    mine.load_state_dict(like.state_dict())  # the names are the same
    return mine, like


@pytest.mark.parametrize("frames", [1, 5])
@pytest.mark.parametrize("form", ["eager", "unrolled"])
def test_values_and_gradients_are_those_of_torch(pair, form, frames):
    mine, like = pair
    x = torch.randn(8, frames, 6)
    ours, theirs = (tensor.clone().requires_grad_() for tensor in (x, x))
    wanted, last = like(theirs)
    if form == "eager":
        out, state = mine(ours)
        assert torch.allclose(state, last, atol=1e-5)
    else:
        out = mine.unrolled(ours)
    assert torch.allclose(out, wanted, atol=1e-5)
    grad = torch.randn_like(out)
    out.backward(grad)
    wanted.backward(grad)
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-5)
    for name, weight in like.named_parameters():
        assert torch.allclose(getattr(mine, name).grad, weight.grad, atol=1e-4)


def test_frames_may_stand_before_the_tokens(pair):
    mine, _ = pair
    x = torch.randn(2, 5, 3, 6)
    by_token = mine.unrolled(rearrange(x, "b t l r -> (b l) t r"))
    assert torch.allclose(mine.unrolled(x), rearrange(by_token, "(b l) t r -> b t l r", b=2), atol=1e-6)


def test_gradients_of_the_unrolled_form_are_exact():
    torch.manual_seed(0)
    sizes = ((2, 4, 3, 15), (15, 5), (15,))
    assert torch.autograd.gradcheck(
        Unrolled.apply, [torch.randn(size, dtype=torch.float64, requires_grad=True) for size in sizes]
    )


def test_autocast_gives_gradients_in_the_precision_of_the_weights(pair):
    mine, _ = pair
    with torch.autocast("cpu", torch.bfloat16):
        out = mine.unrolled(torch.randn(8, 5, 6))
    out.float().square().sum().backward()
    assert out.dtype == torch.bfloat16
    assert all(weight.grad.dtype == torch.float32 and weight.grad.abs().max() > 0 for weight in mine.parameters())


def test_it_starts_as_torch_does():
    torch.manual_seed(3)
    mine = GRU(6)
    torch.manual_seed(3)
    like = nn.GRU(6, 6)
    assert all(torch.equal(value, like.state_dict()[name]) for name, value in mine.state_dict().items())


def test_one_graph_holds_all_of_it(pair):
    mine, like = pair
    compiled = torch.compile(mine, backend="eager", fullgraph=True)
    x = torch.randn(8, 5, 6)
    assert torch.allclose(compiled(x)[0], like(x)[0], atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_gradients_without_training_mode_too(pair, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # it multiplies with three decimal digits otherwise
    mine, like = pair
    x = torch.randn(8, 5, 6)
    ours, theirs = x.cuda().requires_grad_(), x.clone().requires_grad_()
    out, _ = mine.cuda().eval()(ours)
    out.sum().backward()
    like(theirs)[0].sum().backward()
    torch.testing.assert_close(out.cpu(), like(x)[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.grad.cpu(), theirs.grad, atol=1e-4, rtol=0)
