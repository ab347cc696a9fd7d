"""A watched pass: the same logits, all attention, and a model that is as before."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event, get_ident

import pytest
import torch

from peclip.labels import SEVEN
from peclip.model import PEClip
from peclip.model.watch import Attention, _Seen, watched


@pytest.fixture(scope="module")
def net(tiny_clip):
    torch.manual_seed(0)
    net = PEClip(SEVEN, str(tiny_clip), num_frames=3).eval()
    for weight in net.adapters.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return net


@pytest.fixture
def video():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_the_logits_are_those_of_the_model_and_every_token_of_every_block_is_seen(net, video):
    with torch.inference_mode():
        expected = net(video[None])[0]
    seen = watched(net, video)
    tokens = 1 + 4 + net.prompt_length
    assert torch.allclose(seen.logits, expected, atol=1e-4)
    assert [tuple(block.weights().shape) for block in seen.blocks] == [(3, 2, tokens, tokens)] * 2
    assert all(torch.allclose(block.weights().sum(-1), torch.ones(())) for block in seen.blocks)
    assert {block: tuple(scale.shape) for block, scale in seen.scales.items()} == {0: (3, tokens), 1: (3, tokens)}
    assert (seen.prompts, seen.depth, seen.pooling) == (net.prompt_length, 2, None)


def test_scales_are_what_the_adapter_multiplies_with(net, video):
    adapter = net.adapters["vision"]["mlp"]["1"]
    before = adapter.scale.bias.detach().clone()
    try:
        with torch.no_grad():
            adapter.scale.bias.fill_(-1e3)
        seen = watched(net, video)
    finally:
        with torch.no_grad():
            adapter.scale.bias.copy_(before)
    assert seen.scales[1].max() == 0
    assert seen.scales[0].max() > 0


def test_nothing_stays_behind(net, video):
    with torch.inference_mode():
        before = net(video[None])
    hooks = [len(module._forward_hooks) for module in net.modules()]
    watched(net, video)
    assert [len(module._forward_hooks) for module in net.modules()] == hooks
    with torch.inference_mode():
        assert torch.equal(net(video[None]), before)  # to the bit: the last block computes one token again


def test_two_threads_may_watch_at_once_and_the_first_may_leave_first(net, video):
    """Each sees its own pass, a third pass sees nothing of it, and the model is as before."""
    videos = [video, video.flip(0)]
    alone = [watched(net, each) for each in videos]
    with torch.inference_mode():
        before = net(video[None])
    cudnn = torch.backends.cudnn.enabled
    first_in, second_in, first_out, waits, plain = Event(), Event(), Event(), {}, []

    def entered(*call):
        is_in, then = waits.get(get_ident(), (Event(), None))
        is_in.set()
        assert then is None or then.wait(20)

    def first():
        waits[get_ident()] = first_in, second_in
        try:
            return watched(net, videos[0])
        finally:
            first_out.set()

    def second():
        assert first_in.wait(20)
        with torch.inference_mode():
            plain.append(net(video[None]))
        waits[get_ident()] = second_in, first_out
        return watched(net, videos[1])

    hook = net.backbone.towers["vision"].entrance.register_forward_hook(entered)
    try:
        with ThreadPoolExecutor(2) as pool:
            together = [each.result() for each in (pool.submit(first), pool.submit(second))]
    finally:
        hook.remove()
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one.logits, other.logits)
        assert [block.weights().tolist() for block in one.blocks] == [
            block.weights().tolist() for block in other.blocks
        ]
        assert {block: scale.tolist() for block, scale in one.scales.items()} == {
            block: scale.tolist() for block, scale in other.scales.items()
        }
    with torch.inference_mode():
        assert torch.equal(net(video[None]), before)
    assert torch.equal(plain[0], before)
    assert torch.backends.cudnn.enabled == cudnn


@pytest.mark.parametrize(
    "way", [{"checkpointing": True}, pytest.param({"compile": True}, marks=pytest.mark.slow)], ids=str
)
def test_other_ways_to_run_blocks_are_watched_too(way, tiny_clip, net, video, monkeypatch):
    """Compiled by the tracer alone, which is what could fail: code for the processor takes a minute."""
    monkeypatch.setattr("torch.compile", partial(torch.compile, backend="eager"))
    other = PEClip(SEVEN, str(tiny_clip), num_frames=3, **way).eval()
    other.load_state_dict(net.state_dict())
    with torch.inference_mode():
        before = other(video[None])
    expected, seen = watched(net, video), watched(other, video)
    assert torch.allclose(seen.logits, expected.logits, atol=1e-4)
    assert [*seen.scales] == [*expected.scales]
    gradients = [torch.autograd.grad(one.logits[0], [block.out for block in one.blocks]) for one in (seen, expected)]
    assert all(torch.allclose(*pair, atol=1e-4) for pair in zip(*gradients, strict=True))
    with torch.inference_mode():
        assert torch.equal(other(video[None]), before)


def test_a_model_in_which_nothing_learns_has_a_graph_too(tiny_clip, video):
    seen = watched(PEClip(SEVEN, str(tiny_clip), adapters={}, prompts=None).eval(), video)
    gradients = torch.autograd.grad(seen.logits[0], [block.out for block in seen.blocks])
    assert all(gradient.abs().max() > 0 for gradient in gradients)
    assert seen.scales == {}


@pytest.mark.parametrize("projected", [False, True])
def test_the_gradient_of_the_weights_is_that_of_autograd(projected):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 2, 5, 4).unbind(0)  # (N, heads, L, D / heads)
    projection = torch.randn(8, 8) if projected else None
    weights = (query @ key.mT * 0.5).softmax(-1).requires_grad_()
    heads = (weights @ value).transpose(1, 2).flatten(2)
    out = heads if projection is None else heads @ projection.T
    of_out = torch.randn_like(out)
    expected = torch.autograd.grad(out, weights, of_out)[0]
    attention = Attention(query, key, value, 0.5, out, projection)
    assert torch.allclose(attention.weights(), weights)
    assert torch.allclose(attention.gradient(of_out), expected, atol=1e-5)


def test_of_a_backbone_without_a_class_token_the_head_is_seen(families):
    net = PEClip(SEVEN, str(families("siglip").path), num_frames=3).eval()
    seen = watched(net, torch.randn(3, 3, 32, 32))
    head = net.backbone.pooling
    tokens = torch.randn(3, 4 + net.prompt_length, 32)
    with torch.inference_mode():
        probe = net.clip.vision_model.head.probe.expand(3, -1, -1)
        _, expected = head(probe, tokens, tokens, average_attn_weights=False)
    assert tuple(seen.pooling.weights().shape) == (3, 2, 1, 4 + net.prompt_length)
    note = _Seen()
    note.pool(head, (probe, tokens, tokens), (torch.zeros(3, 1, 32), None))
    assert torch.allclose(note.pooling.weights(), expected, atol=1e-6)


def test_recurrences_run_so_that_cudnn_has_a_gradient(net, video, monkeypatch):
    """In evaluation mode, it has one only where the forward pass knows that there will be one."""
    real, trains, enabled = torch.gru, [], []

    def seen(*args):
        trains.append(args[6])
        enabled.append(torch.backends.cudnn.enabled)
        return real(*args)

    monkeypatch.setattr(torch, "gru", seen)
    before = torch.backends.cudnn.enabled
    watched(net, video)
    assert {*trains} == {True}
    assert {*enabled} == {False}
    assert torch.backends.cudnn.enabled == before
    trains.clear()
    with torch.inference_mode():
        net(video[None])
    assert {*trains} == {False}
