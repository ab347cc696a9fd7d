"""Frames of videos as cameras and editors write them are those of a full decode."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from peclip.data.media.clip import count_frames, read_clip, segment_indices
from tests.lacking import SHARED, needs
from tests.media import write_video
from tests.scenes import Visit, film

REAL = sorted(path for path in (SHARED / "media").glob("*/*") if path.suffix in (".mp4", ".mov"))
SMALLEST = {
    min((path for path in REAL if path.suffix == suffix), key=lambda path: path.stat().st_size, default=None)
    for suffix in (".mp4", ".mov")
}

# many frames between keyframes, which refer to each other, and losses
USUAL = {
    "H.264.mp4": {"codec_options": {"crf": "24", "qp": "-1", "b_strategy": "1", "preset": "medium"}, "gop": 60},
    "H.265.mov": {"codec": "libx265", "codec_options": {"x265-params": "crf=28:log-level=none"}, "gop": 60},
}


@pytest.mark.parametrize("name", USUAL)
def test_frames_of_usual_videos_are_those_of_a_full_decode(tmp_path: Path, name: str):
    write_video(tmp_path / name, 100, frames=film([Visit(1, 20, 60, range(100), speed=1.5)], 100), **USUAL[name])
    check_against_a_full_decode(tmp_path / name)


@pytest.mark.skipif(not REAL, reason=needs("real videos"))
@pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.name, marks=() if path in SMALLEST else pytest.mark.stress) for path in REAL]
)
def test_frames_of_real_videos_are_those_of_a_full_decode(path: Path):
    check_against_a_full_decode(path)


def check_against_a_full_decode(path: Path) -> None:
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        frames = list(container.decode(video=0))
    assert count_frames(path) == len(frames)
    whole = np.stack([frames[i].to_ndarray(format="gbrp") for i in segment_indices(len(frames), 16)])
    side = min(whole.shape[1:3])
    top, left = ((length - side) // 2 for length in whole.shape[1:3])
    assert torch.equal(
        read_clip(path, 16, side), torch.from_numpy(whole[:, top : top + side, left : left + side]).permute(0, 3, 1, 2)
    )
