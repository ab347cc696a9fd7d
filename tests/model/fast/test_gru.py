"""The recurrence of the TDA: torch's GRU in parameters and values, eager and compiled."""

import pytest
import torch
from torch import nn

from peclip.model.fast.gru import GRU


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
    forward = mine if form == "eager" else mine._unrolled
    ours, theirs = (tensor.clone().requires_grad_() for tensor in (x, x))
    (out, last), (wanted, last_wanted) = forward(ours), like(theirs)
    assert torch.allclose(out, wanted, atol=1e-5)
    assert torch.allclose(last, last_wanted, atol=1e-5)
    grad = torch.randn_like(out)
    out.backward(grad)
    wanted.backward(grad)
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-5)
    for name, weight in like.named_parameters():
        assert torch.allclose(getattr(mine, name).grad, weight.grad, atol=1e-4)


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
