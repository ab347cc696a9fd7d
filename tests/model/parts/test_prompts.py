import pytest
import torch
from torch.nn import functional as F

from peclip.errors import InputError
from peclip.model import MaPLe
from tests.model.small import size, trainable


def test_vision_prompts_are_a_linear_map_of_the_text_prompts_of_their_depth():
    prompts = MaPLe(32, 48, blocks=4, length=2, depth=3)
    text, vision = prompts.text(), prompts.vision()
    assert [tuple(tokens.shape) for tokens in text] == [(2, 32)] * 3
    assert [tuple(tokens.shape) for tokens in vision] == [(2, 48)] * 3
    for depth in range(3):
        layer = prompts.project[depth]
        assert torch.equal(text[depth], prompts.tokens[depth])
        assert torch.equal(vision[depth], F.linear(prompts.tokens[depth], layer.weight, layer.bias))


def test_gradient_of_the_vision_prompts_reaches_the_text_prompts():
    prompts = MaPLe(32, 48, blocks=4, length=2, depth=3)
    sum(tokens.sum() for tokens in prompts.vision()).backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in prompts.parameters())


def test_size_is_that_of_the_paper():
    prompts = MaPLe(512, 768, blocks=12)
    assert (prompts.length, prompts.depth) == (2, 9)
    assert size(prompts) == 3_555_072
    kinds = ("tokens.{}", "project.{}.weight", "project.{}.bias")
    assert set(trainable(prompts)) == {kind.format(depth) for kind in kinds for depth in range(9)}


def test_prompts_start_as_small_noise():
    values = torch.cat([tokens.flatten() for tokens in MaPLe(512, 8, blocks=4, length=16).text()])
    assert values.std().item() == pytest.approx(0.02, rel=0.05)
    assert abs(values.mean().item()) < 0.001


@pytest.mark.parametrize(("blocks", "depth"), [(1, 1), (8, 8), (9, 9), (24, 9)])
def test_prompts_are_nine_deep_or_as_deep_as_there_are_blocks(blocks, depth):
    assert MaPLe(8, 8, blocks).depth == depth


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "MaPLe: length is 0, expected at least 1; for no prompts, set prompts to null"),
        ({"length": -2}, "MaPLe: length is -2, expected at least 1"),
        ({"depth": 0}, "MaPLe: depth is 0, expected 1 to 4, the blocks of the shorter tower; for no prompts, set"),
        ({"depth": 5}, "MaPLe: depth is 5, expected 1 to 4"),
    ],
)
def test_length_and_depth_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        MaPLe(32, 32, blocks=4, **options)
