"""Slide a window over the frames of a video of any length, and gather the clip of each face within it."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from peclip.data.media.clip import segment_indices
from peclip.errors import InputError

FEWEST, SPARE = 64, 4
"""A window keeps at most this many crops of a face, or this many times the T that are chosen from them if that is more:
at higher frame rates some are skipped, so that memory depends neither on the frame rate nor on the window."""

LONGEST = 60.0
"""Longest window in seconds."""

BLANK = 0.2
"""Shortest stretch without a face that gets a row, in seconds."""

_SLACK = 1e-6  # seconds; smaller differences are rounding
_ONE_FRAME = 0.04  # seconds for which a video's only frame is taken to be shown


class Subject(Protocol):
    """A person whose face is tracked, distinguished by identity; without a number it is not reported."""

    number: int | None


class Sight(NamedTuple):
    """A face in a window.

    Attributes:
        track: number of the face.
        start: seconds at which it is first seen in the window; the window's own start if it is there from the start.
        end: seconds at which it is last seen in the window; the window's own end if it is there to the end.
        share: of the window's frames, those in which the face was found.
        clip: uint8 (T, 3, S, S).
    """

    track: int
    start: float
    end: float
    share: float
    clip: Tensor


class Window(NamedTuple):
    """A window of a video.

    Attributes:
        start: seconds.
        end: seconds.
        sights: the faces in it, by the number of their track.
        blanks: start and end of the stretches without a face; stretches below :data:`BLANK` are skipped
            where there is also a face.
    """

    start: float
    end: float
    sights: list[Sight]
    blanks: list[tuple[float, float]]


class _Frame(NamedTuple):
    seconds: float
    crops: dict[Subject, Tensor | None]  # None where the crop is skipped


class Windows:
    """Windows over a stream of frames.

    They follow each other by `stride`; the last is the one that reaches the last frame, and ends there.

    Args:
        num_frames: T.
        length: of a window in seconds, above 0.
        stride: seconds from one window's start to the next one's, above 0 and at most `length`.

    Raises:
        InputError: a number out of its range.
    """

    def __init__(self, num_frames: int, length: float, stride: float) -> None:
        if not 0 < length <= LONGEST:
            raise InputError(f"window is {length:g}: expected seconds above 0, at most {LONGEST:g}")
        if not 0 < stride <= length:
            raise InputError(f"stride is {stride:g}: expected seconds above 0, at most the window's {length:g}")
        self._num_frames, self._length, self._stride = num_frames, length, stride
        self._spacing = length / max(FEWEST, SPARE * num_frames)
        self._frames: deque[_Frame] = deque()
        self._kept: dict[Subject, float] = {}  # when a crop of each was last kept
        self._number = 0  # of the window that is open

    def wants(self, subject: Subject, seconds: float) -> bool:
        """Return whether a crop of a face at a time would be kept."""
        last = self._kept.get(subject)
        return last is None or seconds - last >= self._spacing - _SLACK

    def push(self, seconds: float, crops: dict[Subject, Tensor | None]) -> Iterator[Window]:
        """Add a frame.

        Args:
            seconds: of the frame, not less than before.
            crops: of each face in the frame, uint8 (3, S, S), or None where it is not needed.

        Yields:
            the windows that end before the frame.
        """
        while seconds >= self._start + self._length - _SLACK:
            yield self._close(self._start + self._length, seconds)
            self._number += 1
            while self._frames and self._frames[0].seconds < self._start - _SLACK:
                self._frames.popleft()
            shown = {subject for frame in self._frames for subject in frame.crops}
            self._kept = {subject: last for subject, last in self._kept.items() if subject in shown}
        self._frames.append(_Frame(seconds, crops))
        self._kept |= {subject: seconds for subject, crop in crops.items() if crop is not None}

    def finish(self) -> Iterator[Window]:
        """Yield the window that the last frame is in, if there was a frame: its end is that of the last frame."""
        if self._frames:
            times = [frame.seconds for frame in self._frames]
            shown = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else _ONE_FRAME
            end = min(times[-1] + shown, self._start + self._length)
            yield self._close(end, end)
            self._frames.clear()

    @property
    def _start(self) -> float:
        return self._number * self._stride

    def _close(self, end: float, following: float) -> Window:
        """Return the open window; `following` is the time of the frame behind it."""
        times = [*(frame.seconds for frame in self._frames), following]
        seen: dict[Subject, list[int]] = {}
        for index, frame in enumerate(self._frames):
            for subject in frame.crops:
                seen.setdefault(subject, []).append(index)
        sights = []
        for subject, frames in seen.items():
            crops = [crop for index in frames if (crop := self._frames[index].crops[subject]) is not None]
            if subject.number is None or not crops:
                continue
            start = self._start if frames[0] == 0 else times[frames[0]]
            stop = end if frames[-1] == len(self._frames) - 1 else times[frames[-1] + 1]
            share = len(frames) / len(self._frames)
            sights.append(Sight(subject.number, start, stop, share, self._clip(crops)))
        return Window(
            self._start, end, sorted(sights, key=lambda sight: sight.track), _blanks(self._start, end, sights)
        )

    def _clip(self, crops: Iterable[Tensor]) -> Tensor:
        """Choose T of the crops by segments, as evaluation does; fewer than T are padded by the last."""
        every = list(crops)
        return torch.stack([every[index] for index in segment_indices(len(every), self._num_frames)])


def _blanks(start: float, end: float, sights: list[Sight]) -> list[tuple[float, float]]:
    """Return the stretches of a window without a face."""
    if not sights:
        return [(start, end)]
    blanks, covered = [], start
    for sight in sorted(sights, key=lambda sight: sight.start):
        blanks.append((covered, sight.start))
        covered = max(covered, sight.end)
    return [(first, stop) for first, stop in (*blanks, (covered, end)) if stop - first >= BLANK]
