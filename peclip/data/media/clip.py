"""Read clips: count the frames, choose some by segments, and read those as one uint8 tensor.

A clip is a video file, which `peclip.data.media.decode` decodes, a folder of frame images in natural order, or a clip in a
shard that `peclip pack` wrote, which `peclip.data.media.shard` reads.
"""

import os
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from peclip.data.media.canvas import read_image
from peclip.data.media.container import Window, open_video
from peclip.data.media.decode import DecodedClip
from peclip.data.media.frame_folder import FolderClip, frame_files, is_folder
from peclip.data.media.planned import PlannedClip, open_planned
from peclip.data.media.shard import PackedClip, split_path
from peclip.data.media.stream import FrameStream, TimedFrame, timed_frames
from peclip.errors import InputError

__all__ = [
    "ChosenFrames",
    "clip_frames",
    "count_frames",
    "every_frame",
    "read_chosen",
    "read_clip",
    "segment_indices",
    "stream_choice",
    "stream_frames",
]

FOLDER_RATE = 25.0
"""Frames a second of a folder of frame images, where seconds are asked for."""

_FULL = 1_000_000  # pixels of a side: more than any image has, which is so read in full detail


def read_clip(
    path: Path | str,
    num_frames: int,
    size: int,
    *,
    start: float | None = None,
    end: float | None = None,
    rng: np.random.Generator | None = None,
    views: int = 1,
) -> torch.Tensor:
    """Read `num_frames` frames of a clip, chosen by `segment_indices`, at `size` by `size` pixels.

    The shorter side is scaled to `size` and the centre is cut out. Rotation metadata and non-square pixels are
    applied first.

    Args:
        path: a video file, a folder of frame images, which are taken in natural order (`2.jpg` before `10.jpg`), or a
            packed clip.
        num_frames: T, at least 1.
        size: side of the frames in pixels, at least 1.
        start: seconds from the beginning of the video; frames before it do not belong to the clip.
        end: seconds from the beginning of the video; frames at or after it do not belong to the clip.
        rng: generator that chooses a random frame of each segment; None chooses the middle one.
        views: V choices of frames, see `segment_indices`.

    Returns:
        uint8 (V * T, 3, size, size), RGB.

    Raises:
        InputError: if the clip is missing, is not a video, has no frame in `[start, end)`, or if a chosen frame
            cannot be decoded. The message names the file.
    """
    return read_chosen(path, num_frames, size, start=start, end=end, rng=rng, views=views).clip


class ChosenFrames(NamedTuple):
    """Some frames of a clip.

    Attributes:
        clip: uint8 (T, 3, S, S), RGB.
        numbers: (T,), which frames of the clip they are, from 0.
        frames: number of frames of the clip.
    """

    clip: torch.Tensor
    numbers: np.ndarray
    frames: int


def read_chosen(
    path: Path | str,
    num_frames: int,
    size: int,
    *,
    start: float | None = None,
    end: float | None = None,
    rng: np.random.Generator | None = None,
    views: int = 1,
) -> ChosenFrames:
    """Read frames as :func:`read_clip` does, and say which ones they are; arguments and errors are its."""
    if num_frames < 1 or size < 1:
        raise InputError(f"cannot read {num_frames} frames of {size}x{size} pixels: expected at least 1 of each")
    state = rng.bit_generator.state if rng is not None else {}
    with closing(_ways(path, start, end)) as ways:
        for way in ways:
            if way.frames == 0:
                raise _no_frame(path, (start, end))
            if rng is not None:
                rng.bit_generator.state = state  # every way starts from the same one, and so chooses the same frames
            numbers = segment_indices(way.frames, num_frames, rng, views)
            clip = way.read(numbers, size)
            if clip is not None:
                return ChosenFrames(clip, numbers, way.frames)
    raise AssertionError("the last way never gives up")


def segment_indices(frames: int, num: int, rng: np.random.Generator | None = None, views: int = 1) -> np.ndarray:
    """Choose one frame from each of `num` equal segments of a clip.

    Segment k is `[k * frames / num, (k + 1) * frames / num)`. Of a clip with fewer frames than `num`, all are chosen and
    the last is repeated.

    Args:
        frames: number of frames of the clip, at least 1.
        num: number of frames wanted (T), at least 1.
        rng: generator that chooses a uniformly random frame within each segment; None chooses the middle, as in testing.
        views: without rng, V choices, the frames of view i being every V-th from i on: the middle of the i-th of V equal pieces
            of each segment. Of a clip with fewer frames than `num`, all are the same.

    Returns:
        (V * T,) int64, non-decreasing, each in `[0, frames)`.

    Raises:
        InputError: if there is no frame to choose from, or `num` is less than 1.
    """
    if frames < 1 or num < 1:
        raise InputError(f"cannot choose {num} of {frames} frames: expected at least one of each")
    k = np.arange(num, dtype=np.int64)
    if frames < num:
        return np.minimum(k, frames - 1).repeat(views)
    if rng is None:
        return (2 * np.arange(views * num, dtype=np.int64) + 1) * frames // (2 * views * num)
    first, stop = -(-k * frames // num), -(-(k + 1) * frames // num)  # whole frames within the segment
    return rng.integers(first, stop)


def every_frame(
    path: Path | str, size: int, *, start: float | None = None, end: float | None = None
) -> Iterator[np.ndarray]:
    """Read all frames of a clip as `read_clip` reads some; of a video or a folder, only one is in memory at a time.

    Args:
        path: a video file, or a folder of frames.
        size: side of the square frames, in pixels.
        start: beginning of the clip, in seconds from the beginning of the file; None for the beginning.
        end: end of the clip, in seconds; None for the end of the file.

    Raises:
        InputError: as :func:`read_clip`.

    Yields:
        uint8 (3, size, size), RGB; overwritten by the next.
    """
    yield from _whole(path, start, end).read_all(size)


def count_frames(path: Path | str) -> int:
    """Count the frames of a whole clip, without decoding if that is exact.

    Args:
        path: a video file, or a folder of frames.

    Returns:
        The number of frames, at least 1.

    Raises:
        InputError: the clip cannot be read.
    """
    with closing(_ways(path, None, None)) as ways:
        return next(ways).frames


def stream_frames(path: Path | str) -> FrameStream:
    """Decode a whole video in order of presentation, holding one frame at a time.

    Args:
        path: a video file of any length.

    Returns:
        an iterator over the time of each frame in seconds from the beginning of the video, and the frame: uint8 (H, W, 3),
        RGB, with rotation metadata applied and square pixels.

    Raises:
        InputError: if the file is not a video, or at the first frame that cannot be decoded.
    """
    path = Path(path)
    if is_folder(path):
        raise InputError(f"{path}: is a folder, expected a video file")
    return FrameStream(_stream(path))


def clip_frames(
    path: Path | str, start: float | None = None, end: float | None = None
) -> Iterator[tuple[float, np.ndarray]]:
    """Read all frames of a clip in full size, holding one at a time.

    Args:
        path: a video file, or a folder of frame images.
        start: seconds from the beginning of the video; of the frames before it, one that is still shown belongs to the clip where
            :func:`read_clip` counts it.
        end: seconds from the beginning of the video; frames at or after it do not belong to the clip.

    Yields:
        seconds, at least ``start``, those of a folder at :data:`FOLDER_RATE`, and the frame: uint8 (H, W, 3), RGB, upright, with
        square pixels.

    Raises:
        InputError: as :func:`read_clip`, or it is a packed clip.
    """
    window = _check_window(path, start, end)
    if split_path(path):
        raise InputError(f"{path}: is a packed clip, whose frames have one size: name the clips that were packed")
    if is_folder(Path(path)):
        for number, file in enumerate(frame_files(Path(path))):
            yield number / FOLDER_RATE, np.asarray(read_image(file, _FULL))
        return
    is_empty = True
    with open_video(Path(path)) as video:
        for begin, _, frame in timed_frames(video, video.origin, window):
            is_empty = False
            yield max(begin, start or 0.0), frame
    if is_empty:
        raise _no_frame(path, window)


def _no_frame(path: Path | str, window: Window) -> InputError:
    start, end = window
    since = "" if start is None else f" from {start:g} s on"
    until = "" if end is None else f" before {end:g} s"
    return InputError(f"{path}: has no frame{since}{until}")


def _stream(path: Path) -> Iterator[TimedFrame]:
    with open_video(path) as video:
        yield from timed_frames(video, video.origin)


def stream_choice(path: Path | str) -> str:
    """Return which of several video streams of a file is read, in words; empty if there is only one, or no video file.

    Raises:
        InputError: if the file is not a video.
    """
    if split_path(path) or is_folder(Path(path)):
        return ""
    with open_video(Path(path)) as video:
        return video.choice


def _ways(
    path: Path | str, start: float | None, end: float | None
) -> Generator[PlannedClip | DecodedClip | FolderClip | PackedClip]:
    """Yield a clip opened in one way after another, the quickest first.

    Each knows the number of its `frames` and can `read` chosen ones. Where that returns None, the next way is to be tried,
    which may count other frames; the last way never returns None.
    """
    whole = _whole(path, start, end)
    if isinstance(whole, DecodedClip):
        for seek in (True, False) if start else (False,):
            with open_planned(Path(path), (start, end), seek=seek) as planned:
                if planned is not None:
                    yield planned
    yield whole


def _whole(path: Path | str, start: float | None, end: float | None) -> DecodedClip | FolderClip | PackedClip:
    """Return a clip in the way that never gives up."""
    window = _check_window(path, start, end)
    if split_path(path):
        return PackedClip(path)
    path = Path(path)
    return FolderClip(path) if is_folder(path) else DecodedClip(path, window)


def _check_window(path: Path | str, start: float | None, end: float | None) -> Window:
    for name, value in (("start", start), ("end", end)):
        if value is not None and not (0 <= value < 1e9):
            raise InputError(f"{path}: {name} is {value}: expected seconds from the beginning of the video")
    if start is not None and end is not None and start >= end:
        raise InputError(f"{path}: start is {start:g} s and end is {end:g} s: expected start before end")
    if (start, end) != (None, None) and (split_path(path) or os.path.isdir(path)):
        raise InputError(f"{path}: start and end apply to a video, this is a folder of frames: remove them")
    return start, end
