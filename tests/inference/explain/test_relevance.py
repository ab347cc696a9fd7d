"""Attention rollout by hand, with prompts that end paths, a head, and gradients."""

import pytest
import torch

from peclip.inference.explain.relevance import _rolled, maps, margin
from peclip.labels import SEVEN
from peclip.model import PEClip
from peclip.model.watch import Attention, Pass, watched
from tests.model.backbones.families import write_family


def a_pass(tokens, pooling=None, prompts=0, depth=0, blocks=2):
    """A pass over one frame of which only the number of blocks and the places of the tokens count."""
    nothing = torch.zeros(1, 1, tokens, 1)
    block = Attention(nothing, nothing, nothing, 1.0, nothing)
    return Pass(torch.zeros(2), (block,) * blocks, block if pooling else None, {}, prompts, depth)


def test_two_blocks_are_multiplied_with_what_tokens_keep_of_themselves():
    first = torch.tensor([[[0.2, 0.3, 0.5], [0.1, 0.9, 0.0], [0.0, 0.5, 0.5]]])
    second = torch.tensor([[[0.6, 0.4, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
    eye = torch.eye(3)
    expected = (0.5 * (second + eye) @ (0.5 * (first + eye)))[0, 0, 1:]
    patches, prompts = _rolled(a_pass(3), [first, second], keep=0.5, add=0.5)
    assert torch.allclose(patches[0], expected)
    assert prompts.item() == 0


def test_prompts_that_a_block_replaces_end_the_path():
    first = torch.tensor(
        [[[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]]
    )  # the prompt, the last token, saw the patch
    second = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])  # the class token looks at the prompt
    replaced, prompts = _rolled(a_pass(3, prompts=1, depth=2), [first, second], keep=0.0, add=1.0)
    assert (replaced.item(), prompts.item()) == (0, 1)
    kept, prompts = _rolled(a_pass(3, prompts=1, depth=1), [first, second], keep=0.0, add=1.0)
    assert (kept.item(), prompts.item()) == (1, 0)


def test_a_head_begins_where_it_looks():
    look = torch.tensor([[[0.1, 0.9]]])
    same = torch.eye(2)[None]
    patches, _ = _rolled(a_pass(2, pooling=True), [same, same, look], keep=0.5, add=0.5)
    assert torch.allclose(patches[0], look[0, 0])


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_shares_of_a_frame_add_up_to_one_in_every_family(family, tmp_path):
    net = PEClip(SEVEN, str(write_family(family, tmp_path / family).path), num_frames=3).eval()
    seen = watched(net, torch.randn(3, 3, 32, 32))
    found = maps(seen, margin(seen.logits, 2))
    assert found.rollout.shape == found.gradient.shape == (3, 2, 2)
    assert torch.allclose(found.rollout.sum(dim=(1, 2)) + found.prompts, torch.ones(3))
    assert found.gradient.min() >= 0
    assert found.gradient.max() > 0
    assert (found.prompts > 0).all()


def test_what_raises_one_class_is_another_map_than_what_raises_another(tiny_clip):
    net = PEClip(SEVEN, str(tiny_clip), adapters={}, prompts=None).eval()
    video = torch.randn(2, 3, 32, 32)
    one, other = (maps(seen, margin(seen.logits, label)).gradient for label in (0, 3) for seen in [watched(net, video)])
    assert not torch.allclose(one, other)
