"""The first vision block's gradient for the prompts alone: equal to the whole one wherever anything needs it."""

from copy import deepcopy

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from peclip.model import VPT, AIMTemporalAdapter, SharedAdapter, STAdapter
from tests.model.small import build, clips, stir, trainable


class Before(SharedAdapter):
    """Learns before its site."""

    takes = "input"


class Asking(SharedAdapter):
    """Asks the block for the attention of other tokens than its own."""

    needs_place = True

    def forward(self, x, frames, place):
        return super().forward(x + place.attend(x.roll(1, 1)), frames)


def first_layers(net):
    return net.backbone.towers["vision"].attention_input(0)[1]


def computes_less(net):
    return any("forward" in vars(layer) for layer in first_layers(net))


def whole(net):
    """A copy that computes the gradient of all tokens."""
    other = deepcopy(net)
    for layer in first_layers(other):
        vars(layer).pop("forward", None)
    return other


def gradients(net, *videos):
    """Run one pass for each video, then compute the gradients; return both."""
    net.zero_grad()
    passes = [net(video) for video in videos]
    sum(logits.float().square().mean() for logits in passes).backward()
    return passes, {name: weight.grad for name, weight in trainable(net).items()}


def check_equal(net, other, *videos):
    logits, found = gradients(net, *videos)
    expected_logits, expected = gradients(other, *videos)
    for one, another in zip(logits, expected_logits, strict=True):
        assert torch.equal(one, another)
    check_gradients(found, expected)


def check_gradients(found, expected, tolerance=1e-5):
    """They are the same but for rounding, which is that of the largest number of each."""
    for name, gradient in expected.items():
        assert (found[name] - gradient).abs().max() <= tolerance * gradient.abs().max() + 1e-7, name


@pytest.mark.parametrize("prompts", [{}, {"prompts": VPT}], ids=["MaPLe", "VPT"])
def test_logits_are_the_same_bits_and_gradients_the_same(tiny_clip, prompts):
    net = stir(build(tiny_clip, **prompts))
    assert computes_less(net)
    check_equal(net, whole(net), clips(3, 4))


def test_less_is_multiplied_for_the_gradient(tiny_clip):
    net = stir(build(tiny_clip))
    found = []
    for each in (net, whole(net)):
        with FlopCounterMode(display=False) as counter:
            gradients(each, clips(3, 4))
        found.append(counter.get_total_flops())
    width, tokens, prompts = 32, 5 + 2, 2
    assert found[1] - found[0] == 3 * 2 * (tokens - prompts) * 12 * width * width


@pytest.mark.parametrize("autocast", [False, True], ids=["fp32", "bf16"])
def test_blocks_that_are_computed_again_have_the_same_gradient(tiny_clip, autocast):
    net, plain = stir(build(tiny_clip, checkpointing=True)), whole(stir(build(tiny_clip)))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found, expected = gradients(net, clips(3, 4))[1], gradients(plain, clips(3, 4))[1]
    check_gradients(found, expected, 0.02 if autocast else 1e-5)


def test_a_pass_that_needs_the_gradient_of_its_pixels_gets_it_beside_one_that_does_not(tiny_clip):
    net, pixels = stir(build(tiny_clip, checkpointing=True)), clips(2, 3, seed=1).requires_grad_()
    other, expected = whole(stir(build(tiny_clip))), pixels.detach().clone().requires_grad_()
    passes = ((net, pixels), (other, expected))
    found, whole_ones = (gradients(each, clips(2, 4), of)[1] | {"pixels": of.grad} for each, of in passes)
    check_gradients(found, whole_ones)


@pytest.mark.parametrize(
    "options",
    [
        {"adapters": {"vision.attention": Before}},
        {"adapters": {"vision.block": Before}},
        {"adapters": {"vision.block": STAdapter}},
        {"adapters": {"vision.block": AIMTemporalAdapter}},
        {"adapters": {"vision.mlp": Asking}},
        {"norms": "vision"},
    ],
    ids=str,
)
def test_where_something_learns_before_it_the_whole_gradient_is_computed(tiny_clip, options):
    net = stir(build(tiny_clip, **options))
    assert not computes_less(net)


@pytest.mark.parametrize("options", [{"adapters": {"vision.attention[1:]": Before}}, {"norms": "text"}], ids=str)
def test_what_learns_elsewhere_does_not_matter(tiny_clip, options):
    net = stir(build(tiny_clip, **options))
    assert computes_less(net)
    check_equal(net, whole(net), clips(3, 4))


def test_weights_of_the_tower_that_were_made_to_learn_get_their_gradient(tiny_clip):
    net = stir(build(tiny_clip))
    net.clip.vision_model.pre_layrnorm.weight.requires_grad_(True)
    check_equal(net, whole(net), clips(3, 4))


def test_layers_of_peft_compute_their_own_gradient(tiny_clip):
    peft = pytest.importorskip("peft")
    net = stir(build(tiny_clip, peft=peft.LoraConfig(r=2, target_modules=["q_proj"])))
    block, other = net.clip.vision_model.encoder.layers[0].self_attn, deepcopy(net)
    assert (
        vars(block.q_proj)["forward"]
        == net.peft.get_submodule("vision_model.encoder.layers.0.self_attn.q_proj").forward
    )
    for name in ("k_proj", "v_proj"):
        vars(getattr(other.clip.vision_model.encoder.layers[0].self_attn, name)).pop("forward")
    check_equal(net, other, clips(3, 4))


def test_a_copy_computes_with_its_own_layers_and_frames(tiny_clip):
    net = stir(build(tiny_clip))
    other = deepcopy(net)
    for layer in first_layers(other):
        assert vars(layer)["forward"].args == (other._flows["vision"], layer)
    check_equal(other, whole(net), clips(3, 4))


def test_a_bare_model_has_its_own_layers(tiny_clip):
    net = build(tiny_clip)
    with net.bare():
        assert not computes_less(net)
    assert computes_less(net)
