from functools import partial

import pytest
import torch

from peclip.errors import InputError
from peclip.model import MaPLe, PEClip, SharedAdapter, TextAdapter
from tests.model.small import LABELS, build, clips, logits


def long_texts(tokens):
    """A text of so many tokens for each class; the tokenizer has a token for each letter."""
    return {label: "a" * (tokens - 1) + letter for label, letter in zip(LABELS, "bcd", strict=True)}


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                {"adapters": {"vision.mpl": TextAdapter}},
                r"unknown site 'vision.mpl', expected one of vision.att",
            ),
            (
                {"adapters": {"text.mlp[2:]": TextAdapter}},
                r"'text.mlp\[2:\]' matches no block, text.mlp has blocks 0 to 1",
            ),
            (
                {"adapters": {"text.mlp": TextAdapter, "text.mlp[1:]": SharedAdapter}},
                r"'text.mlp\[1:\]' covers block 1, which has an adapter from another site",
            ),
            ({"adapters": {"text.mlp": lambda width: TextAdapter(width)}}, r"expected a class or functools.partial"),
            ({"adapters": {"text.mlp": partial(TextAdapter, reduction=64)}}, r"TextAdapter: reduction is 64, .* 32"),
            (
                {"prompts": partial(MaPLe, depth=3)},
                r"MaPLe: depth is 3, expected 1 to 2, the blocks of the shorter tower",
            ),
            (
                {"prompts": partial(MaPLe, length=150, depth=1)},
                r"texts: 'Cheek.* has 180 tokens with its prompts, .* accepts at most 160",
            ),
            ({"labels": ("joy",)}, r"texts is missing 'joy' \(known: happiness"),
            ({"labels": ("fear", "anger", "fear")}, r"labels: duplicate label 'fear'"),
            ({"labels": ()}, r"labels is empty, expected at least one"),
            ({"texts": {"happiness": "a"}}, r"texts is missing 'sadness'"),
            ({"texts": long_texts(157)}, r"texts: 'aaa.* has 161 tokens with its prompts"),
            ({"logit_scale": 0.0}, r"logit_scale is 0.0, expected a number above 0"),
            ({"logit_scale": float("nan")}, r"logit_scale is nan, expected a number above 0"),
            (
                {"texts": "poems"},
                r"texts is 'poems', expected action_units, names, sentences, a template with \{label\} such as",
            ),
            ({"num_frames": 0}, r"num_frames is 0, expected 1 to 10000"),
            ({"normalize": "imagenet"}, r"normalize is 'imagenet', expected one of backbone, none"),
            ({"without": ["vision.mpl"]}, r"without names 'vision.mpl', where no adapter is: expected .* vision.mlp,"),
        ],
    )
    def test_is_refused_in_one_line(self, tiny_clip, options, message):
        with pytest.raises(InputError, match=message) as caught:
            build(tiny_clip, **options)
        assert "\n" not in str(caught.value)

    def test_a_text_that_just_fits_is_taken(self, tiny_clip):
        net = build(tiny_clip, texts=long_texts(156))
        assert net.token_ids.shape == (3, 160)
        assert logits(net).shape == (2, 3)

    @pytest.mark.parametrize(
        "video",
        [clips()[0], clips(side=48), clips()[:, :, :2], torch.zeros(2, 3, 32, 32), clips()[:0], clips()[:, :0]],
    )
    def test_video_of_another_shape_is_refused(self, whole, video):
        with pytest.raises(ValueError, match=r"video has shape .* expected \(B, T, 3, 32, 32\)"):
            whole(video)

    def test_video_of_integers_is_refused(self, whole):
        with pytest.raises(ValueError, match=r"video is torch.uint8, expected normalised frames as floating point"):
            whole(clips().to(torch.uint8))

    @pytest.mark.parametrize(
        ("token_ids", "message"),
        [
            (torch.ones(12, dtype=torch.long), r"token_ids have shape \(12,\), expected \(3, 2 to 160\)"),
            (torch.ones(2, 12, dtype=torch.long), r"token_ids have shape \(2, 12\), expected \(3, 2 to 160\)"),
            (torch.ones(3, 161, dtype=torch.long), r"token_ids have shape \(3, 161\)"),
            (torch.full((3, 12), 190), r"expected whole numbers from 0 to 189"),
            (torch.full((3, 12), -1), r"expected whole numbers from 0 to 189"),
            (torch.ones(3, 12), r"expected whole numbers from 0 to 189"),
            (torch.ones(3, 12, dtype=torch.bool), r"expected whole numbers from 0 to 189"),
            (
                torch.full((3, 12), 5),
                r"text 0 ends at position 0, where its start or a placeholder .* may be at 3 or after it",
            ),
            (torch.tensor([[1, 1, 5, 5]] * 3), r"text 0 ends at position 2, where its start or a placeholder"),
        ],
    )
    def test_token_ids_that_do_not_fit_are_refused(self, whole, token_ids, message):
        with pytest.raises(InputError, match=message):
            PEClip.assemble(whole.backbone, token_ids, LABELS, {})

    def test_no_class_is_refused(self, whole):
        with pytest.raises(InputError, match="labels is empty, expected at least one class name"):
            PEClip.assemble(whole.backbone, torch.ones(0, 12, dtype=torch.long), [])
