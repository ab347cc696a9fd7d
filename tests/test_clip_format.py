"""The clip format that a model owns."""

from dataclasses import replace

import numpy as np
import pytest

from peclip.clip_format import UNIT_MEAN, UNIT_STD, ClipFormat
from peclip.errors import InputError


def test_the_default_is_that_of_the_paper_with_clips_pixels():
    assert (ClipFormat().num_frames, ClipFormat().image_size, ClipFormat().is_normalised) == (16, 224, True)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"num_frames": 0}, "num_frames is 0, expected 1 to 10000"),
        ({"num_frames": 10_001}, "num_frames is 10001"),
        ({"num_frames": True}, "num_frames is True"),
        ({"image_size": 0}, "image_size is 0, expected at least 1"),
        ({"mean": (0.5, 0.5)}, "expected three numbers"),
        ({"mean": {0.4, 0.5, 0.6}}, "expected three numbers in a list"),
        ({"std": frozenset({0.4, 0.5, 0.6})}, "expected three numbers above 0 in a list"),
        ({"std": (0.5, 0.5, 0.0)}, "expected three numbers above 0"),
        ({"mean": (0.5, 0.5, float("nan"))}, "expected three numbers"),
    ],
)
def test_values_out_of_range_are_refused(values, says):
    with pytest.raises(InputError, match=says):
        ClipFormat(**values)


def test_numbers_of_numpy_become_those_of_python():
    halves = np.full(3, 0.5, np.float32)
    found = ClipFormat(np.int64(8), np.int32(96), halves, halves)
    assert found == ClipFormat(8, 96, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert (type(found.num_frames), type(found.image_size)) == (int, int)


def test_differences_name_both_values():
    raw = replace(ClipFormat(), num_frames=8, mean=[0, 0, 0], std=[1, 1, 1])
    assert (raw.mean, raw.std, raw.is_normalised) == (UNIT_MEAN, UNIT_STD, False)
    assert ClipFormat().differences(raw)["num_frames"] == (16, 8)
    assert not raw.differences(raw)
