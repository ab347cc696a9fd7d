from functools import partial

import pytest
import torch

from peclip.errors import InputError
from peclip.model import STAdapter
from peclip.model.parts.adapters import Grid, Place
from peclip.testing import check_adapter
from tests.model.small import build, clips, size, stir

WIDTH, GRID = 8, Grid(first=1, rows=2, columns=3)
PLACE = Place(GRID, lambda tokens: tokens)


def tokens(clips=2, frames=5, prompts=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(clips * frames, 1 + 6 + prompts, WIDTH, generator=generator)


def moved(adapter, clip, frame, token, frames=5):
    """Return the tokens of frames that change with one of them: places (frame, token) of clips of so many frames."""
    x = tokens(2, frames)
    other = x.clone()
    other[clip * frames + frame, token] += 1
    changed = (adapter(other, frames, PLACE) - adapter(x, frames, PLACE)).abs().amax(-1) > 1e-6
    return {(int(row) // frames, int(row) % frames, int(token)) for row, token in changed.nonzero()}


@pytest.mark.parametrize("site", ["vision.block", "vision.attention", "vision.mlp", "vision.block[1:]"])
@pytest.mark.parametrize("kernel", [1, 3])
def test_keeps_the_contract(site, kernel):
    check_adapter(partial(STAdapter, kernel_space=kernel), site)


def test_a_patch_sees_the_frames_beside_its_own_in_its_clip():
    adapter = stir(STAdapter(WIDTH))
    assert moved(adapter, 0, 2, 4) == {(0, 1, 4), (0, 2, 4), (0, 3, 4)}
    assert moved(adapter, 0, 4, 4) == {(0, 3, 4), (0, 4, 4)}, "a clip ends where the next one begins"


def test_a_kernel_in_space_sees_the_patches_around():
    adapter = stir(STAdapter(WIDTH, kernel_time=1, kernel_space=3))
    assert moved(adapter, 1, 0, 1) == {(1, 0, token) for token in (1, 2, 4, 5)}  # the corner of 2 x 3 patches


@pytest.mark.parametrize("token", [0, 7, 8])
def test_class_token_and_prompts_pass_unchanged(token):
    adapter, x = stir(STAdapter(WIDTH, kernel_space=3)), tokens()
    assert torch.equal(adapter(x, 5, PLACE)[:, token], x[:, token])
    assert moved(adapter, 0, 2, token) == {(0, 2, token)}


def test_is_a_bottleneck_with_a_convolution_of_each_channel():
    adapter = stir(STAdapter(2, reduction=1))
    x, place = torch.randn(4, 1, 2), Place(Grid(0, 1, 1), lambda tokens: tokens)
    narrow = adapter.down(x[:, 0])  # (T, R)
    kernel, bias = adapter.conv.weight[:, 0, :, 0, 0], adapter.conv.bias  # (R, 3)
    around = torch.cat([torch.zeros(1, 2), narrow, torch.zeros(1, 2)])
    mixed = sum(around[step : step + 4] * kernel[:, step] for step in range(3)) + bias
    expected = x[:, 0] + adapter.up(torch.nn.functional.gelu(mixed))
    assert torch.allclose(adapter(x, 4, place)[:, 0], expected, atol=1e-6)


@pytest.mark.parametrize("reduction", [2, 32])
@pytest.mark.parametrize(("frames", "kernel"), [(2, 3), (4, 5), (8, 9)])
def test_gradients_in_bf16_are_those_in_fp32_where_a_clip_is_shorter_than_the_kernel(frames, kernel, reduction):
    adapter, x = stir(STAdapter(32, reduction, kernel)), torch.randn(2 * frames, 7, 32)
    plain, mixed = (gradient_of_the_convolution(adapter, x, frames, bf16) for bf16 in (False, True))
    assert (mixed - plain).norm() < 0.05 * plain.norm()


def gradient_of_the_convolution(adapter, x, frames, bf16):
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        out = adapter(x, frames, PLACE).float()
    return torch.autograd.grad(out.square().sum(), adapter.conv.weight)[0]


def test_size_in_a_block_of_vit_b_16():
    assert size(STAdapter(768)) == 768 * 384 + 384 + 384 * (3 + 1) + 384 * 768 + 768


@pytest.mark.parametrize("prompts", [True, False])
def test_acts_before_the_norm_of_the_block_beside_other_parts(tiny_clip, prompts):
    options = {} if prompts else {"prompts": None}
    net, seen, norms = build(tiny_clip, adapters={"vision.block": STAdapter}, **options), [], []
    block = net.clip.vision_model.encoder.layers[1]
    stir(net.adapters)
    net.adapters["vision"]["block"]["1"].register_forward_hook(lambda *call: seen.append(call[2]))
    block.layer_norm1.register_forward_pre_hook(lambda module, args: norms.append(args[0]))
    net(clips())
    assert torch.equal(seen[0], norms[0])
    assert seen[0].shape[1] == 5 + 2 * prompts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduction": 9}, "STAdapter: reduction is 9, expected 1 to the width of the tower, 8"),
        ({"kernel_time": 2}, "STAdapter: kernel_time is 2, expected an odd number from 1 to 99"),
        ({"kernel_space": 0}, "STAdapter: kernel_space is 0, expected an odd number"),
        ({"kernel_time": 101}, "STAdapter: kernel_time is 101, expected an odd number"),
    ],
)
def test_what_is_out_of_range_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        STAdapter(WIDTH, **options)


def test_the_text_tower_is_refused(tiny_clip):
    message = "adapters: STAdapter is at 'text.block', but works at vision.block or vision.attention or vision.mlp only"
    with pytest.raises(InputError, match=message):
        build(tiny_clip, adapters={"text.block": STAdapter})
