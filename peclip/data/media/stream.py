"""Stream the frames of a video with the times at which they are shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np
from av.video.reformatter import VideoReformatter

from peclip.data.media.canvas import upright
from peclip.data.media.container import Video, Window
from peclip.data.media.decode import decode_everything, within


class TimedFrame(NamedTuple):
    """A frame, and when it is shown.

    Attributes:
        begin: seconds from the beginning of the video.
        end: seconds at which it is no longer shown if no frame follows.
        pixels: uint8 (H, W, 3), RGB, upright, with square pixels.
    """

    begin: float
    end: float
    pixels: np.ndarray


class FrameStream(Iterator[tuple[float, np.ndarray]]):
    """An iterator over the frames of a video: seconds from its beginning, and uint8 (H, W, 3) RGB.

    Args:
        frames: frames in order of presentation.

    Attributes:
        end: seconds at which the latest frame is no longer shown if no other follows; None before the first.
    """

    def __init__(self, frames: Iterator[TimedFrame]) -> None:
        self.end: float | None = None
        self._frames = frames

    def __iter__(self) -> Self:
        """Return the stream."""
        return self

    def __next__(self) -> tuple[float, np.ndarray]:
        """Return the next frame."""
        begin, self.end, pixels = next(self._frames)
        return begin, pixels


def timed_frames(video: Video, origin: int | None, window: Window = (None, None)) -> Iterator[TimedFrame]:
    """Decode a video up to the end of a window, holding one frame at a time.

    Args:
        video: the open file.
        origin: beginning of the video in ticks; None for that of the first frame.
        window: the part of it that is the clip.

    Raises:
        InputError: at the first frame that cannot be decoded.
    """
    scaler = VideoReformatter()
    for shown in within(video, decode_everything(video, is_clip=False), window):
        origin = shown.begin if origin is None else origin
        begin, end = (float((ticks - origin) * video.tick) for ticks in (shown.begin, shown.end))
        yield TimedFrame(begin, end, upright(shown.sound, scaler, video.aspect))
