"""Blocks that are compiled, or computed again for the gradient: the same function."""

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F

from peclip.errors import InputError
from peclip.model import Adapter
from tests.conftest import write_tiny_clip
from tests.model.small import build, clips, logits, stir, trainable


@pytest.mark.parametrize(
    "run",
    [
        {"checkpointing": True},
        pytest.param(
            {"compile": True}, marks=pytest.mark.stress
        ),  # compiles a second time, for passes without gradients
        pytest.param({"compile": True, "checkpointing": True}, marks=pytest.mark.stress),
    ],
)
def test_without_gradients_too_and_bare_clip_to_the_bit(run, tiny_clip):
    plain, other = (stir(build(tiny_clip, **options)).eval() for options in ({}, run))
    video = clips(2)
    with torch.no_grad():
        assert torch.allclose(plain(video), other(video), atol=1e-3)
        with plain.bare(), other.bare():
            assert torch.equal(plain(video), other(video))
        assert torch.allclose(plain(video), other(video), atol=1e-3)


@pytest.fixture(
    scope="module",
    params=[
        ({"checkpointing": True}, 2),
        pytest.param(({"compile": True}, 1, "aot_eager"), marks=pytest.mark.slow),
        pytest.param(({"compile": True}, 1), marks=pytest.mark.stress),
        pytest.param(({"compile": True}, 2), marks=pytest.mark.stress),
        pytest.param(({"compile": True, "checkpointing": True}, 2), marks=pytest.mark.stress),
    ],
    ids=str,
)
def way(request):
    """A way to run blocks, their number in each tower, and the compiler: torch's own takes seconds for one of them."""
    options, blocks, *compiler = request.param
    with pytest.MonkeyPatch.context() as patch:
        if compiler:  # the same graphs of the forward and the backward pass, which are not made into machine code
            patch.setattr(torch, "compile", partial(torch.compile, backend=compiler[0]))
        yield options, blocks


@pytest.fixture(scope="module")
def pair(way, tmp_path_factory):
    """A model and the same one whose blocks run so: compiled once for all tests, which leave them as they were."""
    options, blocks = way
    folder = write_tiny_clip(tmp_path_factory.mktemp("clip") / "clip", blocks)
    plain, other = (stir(build(folder, **options)) for options in ({}, options))
    if blocks == 1:  # a whole block in one tower, one token in the other
        plain._mixes["vision"] = other._mixes["vision"] = True
    return plain, other


@pytest.fixture
def other(pair):
    return pair[1]


def test_values_and_gradients_are_the_same(way, pair):
    video = clips(2)
    for frames in (3,) if way[0] == {"compile": True} else (3, 2):  # T may change; compiling again takes long
        losses = [net(video[:, :frames]).square().mean() for net in pair]
        assert torch.allclose(*losses, rtol=1e-4)
        for net, loss in zip(pair, losses, strict=True):
            net.zero_grad()
            loss.backward()
        plain, other = map(trainable, pair)
        for name, weight in plain.items():
            assert torch.allclose(weight.grad, other[name].grad, rtol=1e-3, atol=1e-4), name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(
    "options",
    [
        {"checkpointing": True},
        {"compile": True},
        {"compile": True, "checkpointing": True},
        {"compile": True, "activation_memory_budget": 0.7},
    ],
    ids=str,
)
def test_values_and_gradients_are_the_same_on_a_gpu(options, tiny_clip, monkeypatch):
    """Without TF32, which rounds to three decimal digits."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    plain, other = (stir(build(tiny_clip, **given)).cuda() for given in ({}, options))
    losses = [net(clips(2).cuda()).square().mean() for net in (plain, other)]
    assert torch.allclose(*losses, rtol=1e-3)
    for loss in losses:
        loss.backward()
    for name, weight in trainable(plain).items():
        assert torch.allclose(weight.grad, trainable(other)[name].grad, rtol=1e-2, atol=1e-3), name


def kept_for_the_gradient(net, video):
    """Bytes that a step keeps until its backward pass, which it then does."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()  # alive, so that its address stays its own
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = net(video).square().mean()
    loss.backward()
    own = {each.untyped_storage().data_ptr() for each in (*net.parameters(), *net.buffers())}
    return sum(storage.nbytes() for address, storage in kept.items() if address not in own)


@pytest.mark.slow
def test_compiled_blocks_with_half_the_memory_budget_keep_less_for_the_same_gradients(tmp_path, monkeypatch):
    """As torch partitions the graphs of the forward and the backward pass, which are not made into machine code here."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    folder, video, kept = write_tiny_clip(tmp_path / "clip", 1), clips(2), []
    plain = stir(build(folder))
    plain(video).square().mean().backward()
    for budget in (1.0, 0.5):
        torch._dynamo.reset()  # blocks that were compiled in this process before kept what they were to keep then
        net = stir(build(folder, compile=True, activation_memory_budget=budget))
        net._mixes["vision"] = True  # a whole block, not its last one, which computes one token
        kept.append(kept_for_the_gradient(net, video))
        for name, weight in trainable(plain).items():
            assert torch.allclose(weight.grad, trainable(net)[name].grad, rtol=1e-3, atol=1e-4), (budget, name)
    assert kept[1] < 0.65 * kept[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compile": True, "activation_memory_budget": 0}, "is 0, expected above 0 and at most 1"),
        ({"compile": True, "activation_memory_budget": 1.5}, "is 1.5, expected above 0 and at most 1"),
        ({"compile": True, "activation_memory_budget": float("nan")}, "is nan, expected above 0 and at most 1"),
        ({"activation_memory_budget": 0.7}, "is 0.7, but compile is false"),
    ],
    ids=str,
)
def test_a_memory_budget_that_cannot_be_kept_is_refused(options, message, tiny_clip):
    with pytest.raises(InputError, match=f"^activation_memory_budget {message}"):
        build(tiny_clip, **options)


def test_a_copy_runs_with_its_own_weights(other):
    """With gradients, because blocks are compiled again without."""
    video = clips(2)
    before = other(video).detach()
    copy = deepcopy(other)
    with torch.no_grad():
        for weight in trainable(copy).values():
            weight.zero_()
    assert torch.equal(other(video), before)
    assert not torch.allclose(copy(video), before, atol=1e-2)


class Noisy(Adapter):
    """Drops values without a module for it."""

    def __init__(self, width):
        super().__init__()
        self.gate = nn.Parameter(torch.ones(width))

    def forward(self, x, frames):
        return F.dropout(x * self.gate, 0.5, self.training)


def test_recomputed_blocks_draw_the_same_numbers_in_adapters_of_ones_own(tiny_clip):
    grads = []
    for checkpointing in (False, True):
        net = build(tiny_clip, adapters={"vision.mlp": Noisy}, prompts=None, checkpointing=checkpointing)
        torch.manual_seed(3)
        net.train()(clips()).square().sum().backward()
        grads.append(torch.cat([weight.grad for weight in net.adapters.parameters()]))
    assert torch.allclose(*grads, rtol=1e-4, atol=1e-5)
    assert net.draws  # so that steps of a run that resumes draw the same ones, too
    assert not build(tiny_clip).draws


def test_a_model_that_draws_has_no_memory_budget_because_torch_would_draw_anew(tiny_clip):
    with pytest.raises(InputError, match="has dropout or a part of another package"):
        build(tiny_clip, adapters={"vision.mlp": Noisy}, compile=True, activation_memory_budget=0.7)


def test_blocks_may_be_recomputed_in_another_thread(tiny_clip):
    """As on a GPU, where torch computes gradients in a thread of its own."""
    plain, net = (stir(build(tiny_clip, checkpointing=checkpointing)) for checkpointing in (False, True))
    plain(clips()).square().mean().backward()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(net(clips()).square().mean().backward).result()
    for name, weight in trainable(plain).items():
        assert torch.allclose(weight.grad, trainable(net)[name].grad, rtol=1e-3, atol=1e-4), name


def test_taken_out_the_blocks_are_as_they_were(other):
    blocks = [block for tower in other.backbone.towers.values() for block in tower.blocks]
    assert all("forward" in vars(block) for block in blocks)
    with other.bare():
        assert not any("forward" in vars(block) for block in blocks)


@pytest.mark.stress
def test_a_compiled_model_does_not_compute_as_another_that_was_compiled_before_it(tiny_clip):
    for options in ({"adapters": {}, "prompts": None}, {"adapters": {}}, {}):
        expected = logits(stir(build(tiny_clip, **options)).eval())
        assert torch.allclose(logits(stir(build(tiny_clip, compile=True, **options)).eval()), expected, atol=1e-3)
