"""Small files that would take long to decode are refused; how much is decoded until then is what is tested here."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from peclip.data.media import budget
from peclip.data.media.clip import count_frames, every_frame, read_clip, stream_frames
from peclip.errors import InputError
from tests.data.hostile import write_gif
from tests.media import write_frames, write_video

SIDE = 1000
WAYS: dict[str, Callable[[Path], object]] = {
    "clip": lambda path: read_clip(path, 4, 16),
    "every": lambda path: [0 for _ in every_frame(path, 16)],
    "stream": lambda path: [0 for _ in stream_frames(path)],
}


@pytest.mark.parametrize("way", WAYS)
def test_an_animation_that_changes_single_pixels_of_a_large_screen_is_refused(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
):
    """The frames of 23 bytes have a million pixels each. Real limits let 70 frames of the largest size pass."""
    monkeypatch.setattr(budget, "ALLOWANCE", 20 * SIDE**2)
    monkeypatch.setattr(budget, "BYTE_PIXELS", 10_000)
    write_gif(tmp_path / "a.gif", 500, SIDE)
    assert count_frames(tmp_path / "a.gif") == 500
    decoded = []
    monkeypatch.setattr(budget.Budget, "spend", counting(budget.Budget.spend, decoded))
    with pytest.raises(InputError, match=r"a\.gif: its frames have more than 10,000 pixels per byte"):
        WAYS[way](tmp_path / "a.gif")
    assert 20 <= len(decoded) <= 40


def counting(spend: Callable[..., None], calls: list[int]) -> Callable[..., None]:
    def spend_and_count(self: budget.Budget, pixels: int, size: int) -> None:
        calls.append(pixels)
        spend(self, pixels, size)

    return spend_and_count


def test_a_film_of_which_nothing_moves_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(budget, "ALLOWANCE", 0)
    still = np.tile(np.random.default_rng(0).integers(0, 255, (1, 270, 480, 3), np.uint8), (60, 1, 1, 1))
    write_video(tmp_path / "a.mp4", 60, frames=still, gop=60, codec_options={"qp": "-1", "crf": "40"})
    for way in WAYS.values():
        way(tmp_path / "a.mp4")


@pytest.mark.parametrize("limit", ["CLIP_PIXELS", "CLIP_SECONDS"])
@pytest.mark.parametrize("kind", ["video", "folder"])
def test_one_clip_has_limits_that_a_film_which_is_watched_has_not(
    tmp_path: Path, kind: str, limit: str, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / ("a.mp4" if kind == "video" else "frames")
    if kind == "video":
        write_video(path, 60, size=(48, 48), gop=60)
    else:
        write_frames(path, 60, size=(48, 48))
    monkeypatch.setattr(budget, "_EVERY", 1)
    monkeypatch.setattr(budget, limit, 30 * 48 * 48 if limit == "CLIP_PIXELS" else 1e-6)
    for way in ("clip", "every"):
        if (kind, way, limit) == ("folder", "clip", "CLIP_PIXELS"):
            continue  # only the chosen frames are decoded
        with pytest.raises(InputError, match=rf"{path.name}.*: too much for one clip, .*: cut it"):
            WAYS[way](path)
    if kind == "video":
        WAYS["stream"](path)
