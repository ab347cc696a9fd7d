"""The arithmetic of a clip is counted without any weights, and leaves no trace in the model."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch import nn

from peclip.model import Adapter, GRUHead, SharedAdapter
from peclip.model.arithmetic import clip_flops, meta_copy
from tests.model.small import build, clips, stir

TOKENS, BLOCKS, WIDTH = 1 + (32 // 16) ** 2, 2, 32


class Looking(Adapter):
    """An adapter that needs the values of what it adapts."""

    def __init__(self, width):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x, frames):
        return x * self.scale if x.sum().item() > 0 else x


class Plain(Looking):
    """An adapter that computes the same without looking."""

    def forward(self, x, frames):
        return x * self.scale


class Leaving(Looking):
    """An adapter that computes with numpy, too."""

    def forward(self, x, frames):
        return x * self.scale * float(self.scale.detach().numpy().max())


class Failing(Looking):
    """An adapter with a mistake of its author."""

    def forward(self, x, frames):
        raise KeyError(frames)


def test_an_adapter_costs_its_two_products_at_each_token_of_each_frame(tiny_clip):
    bare = clip_flops(build(tiny_clip, adapters={}, prompts=None, num_frames=3))
    net = build(tiny_clip, adapters={"vision.mlp": partial(SharedAdapter, reduction=4)}, prompts=None, num_frames=3)
    tokens = (BLOCKS - 1) * TOKENS + 1  # of the last block, the class token alone
    assert clip_flops(net) - bare == 3 * tokens * 2 * (2 * WIDTH * WIDTH // 4)


def test_frames_cost_in_proportion_and_texts_nothing(tiny_clip):
    few, many = (clip_flops(build(tiny_clip, adapters={}, prompts=None, num_frames=frames)) for frames in (2, 6))
    assert many == 3 * few > 0
    only_text = build(tiny_clip, adapters={"text.mlp": SharedAdapter}, prompts=None, num_frames=2)
    assert clip_flops(only_text) == few


@pytest.mark.parametrize("options", [{}, {"temporal": GRUHead}])
def test_a_gru_costs_the_products_of_its_steps(options, tiny_clip, monkeypatch):
    net = build(tiny_clip, num_frames=5, **options)
    at_once = clip_flops(net)
    monkeypatch.setattr("peclip.model.arithmetic._StepsAtOnce", nullcontext)
    assert clip_flops(net) == at_once


def test_counting_changes_neither_the_model_nor_the_random_numbers_to_come(tiny_clip):
    net, video = stir(build(tiny_clip, checkpointing=True)), clips()
    before, drawn = net(video), torch.get_rng_state()
    assert clip_flops(net) > 0
    assert torch.equal(torch.get_rng_state(), drawn)
    assert net.training
    assert torch.equal(net(video), before)
    net(video).sum().backward()
    assert all(weight.grad is not None for weight in net.adapters.parameters())


def test_the_copy_holds_no_weight_and_a_compiled_or_narrow_model_costs_the_same(tiny_clip):
    net = build(tiny_clip, num_frames=3)
    assert {tensor.device.type for tensor in meta_copy(net).state_dict().values()} == {"meta"}
    narrow = build(tiny_clip, num_frames=3, compile=True)
    narrow.hold_frozen_in(torch.bfloat16)
    assert clip_flops(narrow) == clip_flops(net)


@pytest.mark.parametrize("kind", [Looking, Leaving])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_an_adapter_that_looks_at_values_is_counted_with_values(tiny_clip, kind, dtype):
    net, plain = (
        build(tiny_clip, adapters={"vision.mlp": each, "vision.attention": SharedAdapter}, prompts=None)
        for each in (kind, Plain)
    )
    if dtype:
        net.hold_frozen_in(dtype)
    before, drawn = {name: value.clone() for name, value in net.state_dict().items()}, torch.get_rng_state()
    assert clip_flops(net) == clip_flops(plain)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert net.training
    assert all(weight.requires_grad for weight in net.adapters.parameters())


def test_an_adapter_that_fails_is_not_counted(tiny_clip):
    assert clip_flops(build(tiny_clip, adapters={"vision.mlp": Failing}, prompts=None)) is None
