"""Which frames of a clip are read, and that they are those frames."""

from pathlib import Path

import numpy as np
import pytest
import torch

from peclip.data.video import count_frames, read_clip, segment_indices
from peclip.errors import InputError
from tests.media import write_video


def as_clip(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)


def error_of(clip: torch.Tensor, frames: np.ndarray) -> float:
    """Largest difference of a pixel, in grey levels."""
    return float((clip.int() - as_clip(frames).int()).abs().max())


def test_segments_give_their_middle_frames():
    assert segment_indices(16, 4).tolist() == [2, 6, 10, 14]
    assert segment_indices(10, 4).tolist() == [1, 3, 6, 8]
    assert segment_indices(5, 5).tolist() == [0, 1, 2, 3, 4]
    assert segment_indices(75, 16).dtype == np.int64


def test_a_short_clip_repeats_its_last_frame():
    assert segment_indices(3, 5).tolist() == [0, 1, 2, 2, 2]
    assert segment_indices(1, 3, np.random.default_rng(0)).tolist() == [0, 0, 0]


def test_random_frames_cover_each_segment_evenly_and_stay_within_it():
    frames, num = 11, 4
    draws = np.stack([segment_indices(frames, num, np.random.default_rng(seed)) for seed in range(2000)])
    for k in range(num):
        inside = [f for f in range(frames) if k * frames <= f * num < (k + 1) * frames]
        values, counts = np.unique(draws[:, k], return_counts=True)
        assert values.tolist() == inside
        assert counts.min() > 0.8 * 2000 / len(inside)


def test_choosing_from_no_frame_is_an_error():
    with pytest.raises(InputError, match="0 frames"):
        segment_indices(0, 4)


def test_every_frame_of_a_video_is_found_at_its_place(tmp_path: Path):
    frames = write_video(tmp_path / "a.mp4", 40, size=(48, 48))
    assert error_of(read_clip(tmp_path / "a.mp4", 40, 48), frames) <= 3
    assert error_of(read_clip(tmp_path / "a.mp4", 7, 48), frames[segment_indices(40, 7)]) <= 3
    assert count_frames(tmp_path / "a.mp4") == 40
