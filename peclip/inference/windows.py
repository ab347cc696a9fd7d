"""Slide a window over the frames of a video of any length, and gather the clip of each face within it."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from peclip.data.media.clip import segment_indices
from peclip.data.media.container import HELD
from peclip.errors import InputError

FEWEST, SPARE = 64, 4
"""A window keeps at most this many crops of a face, or this many times the T that are chosen from them if that is more: of a
face with more of them, every other one is skipped, so that memory depends neither on the frame rate nor on the window."""

MOST_FACES = 16
"""Maximum number of faces that are tracked at once; of more, the largest are kept. A window has room for the crops of so many: if
more appear one after the other, fewer crops of each are kept."""

FEWEST_LEFT = 3
"""Fewest crops of a face of which some may still be dropped."""

LONGEST = 60.0
"""Longest window in seconds."""

Stretch = tuple[float, float]
"""Start and end in seconds."""

BLANK = 0.2
"""Shortest stretch without a face that gets a row, and shortest absence of a face, in seconds."""

_SLACK = 1e-6  # seconds; smaller differences are rounding
_ONE_FRAME = 0.04  # seconds for which a video's only frame is taken to be shown
_GAPS = 9  # gaps between frames that tell for how long the last one is shown


class Tracked(Protocol):
    """A face that is tracked, distinguished from others by object identity. It is reported once it has a number."""

    number: int | None


class Box(NamedTuple):
    """A face in a frame, in pixels of the frame; it may reach beyond its edges."""

    left: float
    top: float
    width: float
    height: float


class Seen(NamedTuple):
    """A face in a frame.

    Attributes:
        box: place of the face.
        score: score of the detector, from 0 to 1; NaN if it gives none.
        crop: crop of the face, uint8 (3, S, S); None if it is not needed.
    """

    box: Box
    score: float
    crop: Tensor | None


class View(NamedTuple):
    """The faces that a frame shows.

    Attributes:
        faces: the faces that are followed, each with its place and crop.
        not_followed: number of faces that are not followed.
    """

    faces: dict[Tracked, Seen]
    not_followed: int = 0


class Sight(NamedTuple):
    """A face in a window.

    Attributes:
        track: number of the face.
        start: seconds from which it is seen in the window; the window's own start if it is there from the start.
        end: seconds until which it is seen in the window; the window's own end if it is there to the end.
        seconds: total display time of the frames in which the face was detected.
        share: ``seconds`` as a fraction of the display time of all frames of the window, from 0 to 1.
        clip: clip of its crops, uint8 (T, 3, S, S).
        box: mean of its boxes.
        score: mean score of the detector; NaN if it gives none.
        absences: stretches between start and end in which the face is not found, of :data:`BLANK` or more.
    """

    track: int
    start: float
    end: float
    seconds: float
    share: float
    clip: Tensor
    box: Box
    score: float
    absences: tuple[Stretch, ...] = ()


class Window(NamedTuple):
    """A window of a video.

    Attributes:
        start: start in seconds.
        end: end in seconds.
        sights: the faces in it, in order of their tracks' numbers.
        blanks: start and end of the stretches without a face; stretches below :data:`BLANK` are skipped
            where there is also a face.
        not_followed: largest number of faces at a time that are not followed.
    """

    start: float
    end: float
    sights: list[Sight]
    blanks: list[Stretch]
    not_followed: int


class _Frame(NamedTuple):
    seconds: float
    view: View


class Windows:
    """Windows over a stream of frames, each of which is shown until the next one.

    They follow each other by `stride`; the last is the one that reaches the end of the video, and ends there. The frame that is
    shown when a window begins belongs to it if it stays for :data:`HELD` seconds of it or if no other comes, as in a clip of a
    manifest.

    Args:
        num_frames: number of frames T of a clip.
        length: length of a window in seconds, above 0.
        stride: seconds from one window's start to the next one's, above 0 and at most `length`.

    Raises:
        InputError: a number is out of its range.
    """

    def __init__(self, num_frames: int, length: float, stride: float) -> None:
        if not 0 < length <= LONGEST:
            raise InputError(f"window is {length:g}: expected seconds above 0, at most {LONGEST:g}")
        if not 0 < stride <= length:
            raise InputError(f"stride is {stride:g}: expected seconds above 0, at most the window's {length:g}")
        self._num_frames, self._length, self._stride = num_frames, length, stride
        self._most = max(FEWEST, SPARE * num_frames)
        self._frames: deque[_Frame] = deque()
        self._kept: dict[Tracked, list[float]] = {}  # seconds of the crops of each
        self._spacings: dict[Tracked, float] = {}  # least seconds between them
        self._gaps: deque[float] = deque(maxlen=_GAPS)
        self._number = 0  # of the window that is open

    def wants(self, tracked: Tracked, seconds: float) -> bool:
        """Return whether a crop of a face at this time would be kept."""
        kept = self._kept.get(tracked)
        return not kept or seconds - kept[-1] >= self._spacings.get(tracked, 0.0) - _SLACK

    def push(self, seconds: float, view: View) -> Iterator[Window]:
        """Add a frame, which is shown until the next one.

        Args:
            seconds: time of the frame, not less than before.
            view: its faces.

        Yields:
            the windows that end before the frame.
        """
        yield from self._advance(seconds)
        if self._frames:
            self._gaps.append(seconds - self._frames[-1].seconds)
        self._frames.append(_Frame(seconds, view))
        self._keep(seconds, view)

    def hold(self, seconds: float, view: View) -> Iterator[Window]:
        """Add a frame that is shown for long, or all crops of the latest one, if it is that frame; as :meth:`push`."""
        if self._frames and self._frames[-1].seconds == seconds:
            self._frames[-1] = _Frame(seconds, view)
            self._keep(seconds, view)
        else:
            yield from self.push(seconds, view)

    def finish(self, end: float | None = None) -> Iterator[Window]:
        """Yield the windows up to the end of the video, the last of which ends with it; none if there was no frame.

        Args:
            end: seconds until which the last frame of the video is shown, if that is known. Unless it is held, it is taken to be shown
                at most as long as the shortest of the frames before it.
        """
        if not self._frames:
            return
        last = self._frames[-1].seconds
        usual = round(last + min(filter(None, self._gaps), default=_ONE_FRAME), 6)
        if end is None or end <= last:
            end = usual
        elif end - last < HELD:
            end = min(end, usual)
        yield from self._advance(end)
        before = self._start - self._stride + self._length if self._number else -1.0
        if before < end - _SLACK:
            yield self._close(end)
        self._frames.clear()

    def _keep(self, seconds: float, view: View) -> None:
        """Note which crops the latest frame has."""
        for tracked, seen in view.faces.items():
            kept = self._kept.setdefault(tracked, [])
            if seen.crop is not None and kept[-1:] != [seconds]:
                kept.append(seconds)
            if len(kept) > self._most:
                self._thin(tracked)
        while sum(map(len, self._kept.values())) > MOST_FACES * self._most:
            most_seen = max(self._kept, key=lambda each: len(self._kept[each]))
            if len(self._kept[most_seen]) < FEWEST_LEFT:
                break
            self._thin(most_seen)

    def _thin(self, tracked: Tracked) -> None:
        """Drop every other crop of a face, and keep half as many from now on."""
        kept = self._kept[tracked]
        since = max(kept[0], self._start)  # the first frame may have begun long before the window
        self._spacings[tracked] = 2 * (kept[-1] - since) / (len(kept) - 1)
        self._kept[tracked] = kept[::2]
        dropped = {*kept[1::2]}
        for index, frame in enumerate(self._frames):
            if frame.seconds in dropped and (seen := frame.view.faces.get(tracked)):
                faces = {**frame.view.faces, tracked: seen._replace(crop=None)}
                self._frames[index] = _Frame(frame.seconds, frame.view._replace(faces=faces))

    def _advance(self, seconds: float) -> Iterator[Window]:
        """Yield the windows that end by a time, until which no other frame is shown."""
        while seconds >= self._start + self._length - _SLACK:
            yield self._close(self._start + self._length)
            self._number += 1
            while len(self._frames) > 1 and self._frames[1].seconds <= self._start + _SLACK:
                self._frames.popleft()
            begin = self._frames[0].seconds if self._frames else seconds
            self._kept = {
                tracked: left for tracked, kept in self._kept.items() if (left := [t for t in kept if t >= begin])
            }
            self._spacings = {tracked: each for tracked, each in self._spacings.items() if tracked in self._kept}

    @property
    def _start(self) -> float:
        return self._number * self._stride

    def _close(self, end: float) -> Window:
        """Return the open window."""
        frames, start = list(self._frames), self._start
        times = [*(max(frame.seconds, start) for frame in frames), end]
        # The first frame may have begun before the window. What is left of it must be seen to count as a frame.
        is_rest = len(frames) > 1 and frames[0].seconds < start - _SLACK and times[1] - start < HELD - _SLACK
        counted = frames[is_rest:]
        shown = [times[index + 1] - times[index] for index in range(is_rest, len(frames))]
        found: dict[Tracked, list[int]] = {}
        for index, frame in enumerate(frames):
            for tracked in frame.view.faces:
                found.setdefault(tracked, []).append(index)
        sights = []
        for tracked, indices in found.items():
            seen = [frame.view.faces.get(tracked) for frame in counted]
            crops = [face.crop for face in seen if face is not None and face.crop is not None]
            if tracked.number is None or not crops:
                continue
            seconds = sum(time for time, face in zip(shown, seen, strict=True) if face is not None)
            share = round(seconds / sum(shown), 9)
            box, score = _mean([face for face in seen if face is not None])
            first, last = times[indices[0]], times[indices[-1] + 1]
            absences = tuple(
                (times[one + 1], times[other])
                for one, other in pairwise(indices)
                if times[other] - times[one + 1] >= BLANK - _SLACK
            )
            where = first, last, seconds, share
            sights.append(Sight(tracked.number, *where, self._clip(crops), box, score, absences))
        # Where the picture begins late, a window has no frame.
        not_followed = max((frame.view.not_followed for frame in counted), default=0)
        return Window(
            start, end, sorted(sights, key=lambda sight: sight.track), _blanks(start, end, sights), not_followed
        )

    def _clip(self, crops: Iterable[Tensor]) -> Tensor:
        """Choose T of the crops by segments, as evaluation does; fewer than T are padded by the last."""
        every = list(crops)
        return torch.stack([every[index] for index in segment_indices(len(every), self._num_frames)])


def _mean(seen: list[Seen]) -> tuple[Box, float]:
    return Box(*np.mean([face.box for face in seen], axis=0).tolist()), float(np.mean([face.score for face in seen]))


def present(start: float, end: float, absences: Sequence[Stretch]) -> list[Stretch]:
    """Return the stretches between two times that are left without the absences, which are in order of time."""
    begins, ends = [start, *(end for _, end in absences)], [*(begin for begin, _ in absences), end]
    clipped = [(max(first, start), min(last, end)) for first, last in zip(begins, ends, strict=True)]
    return [(first, last) for first, last in clipped if last > first]


def shared(one: Sequence[Stretch], other: Sequence[Stretch]) -> list[Stretch]:
    """Return the stretches that are in both of two lists of them, each in order of time and without overlap."""
    both: list[Stretch] = []
    here = there = 0
    while here < len(one) and there < len(other):
        (start, end), (begin, stop) = one[here], other[there]
        if min(end, stop) > max(start, begin):
            both.append((max(start, begin), min(end, stop)))
        here, there = (here + 1, there) if end < stop else (here, there + 1)
    return both


def seconds_of(stretches: Iterable[Stretch]) -> float:
    """Return the length of stretches that do not overlap."""
    return sum(last - first for first, last in stretches)


def _blanks(start: float, end: float, sights: list[Sight]) -> list[Stretch]:
    """Return the stretches of a window without a face."""
    if not sights:
        return [(start, end)]
    blanks, covered = [], start
    for first, last in sorted(each for sight in sights for each in present(sight.start, sight.end, sight.absences)):
        blanks.append((covered, first))
        covered = max(covered, last)
    return [(first, stop) for first, stop in (*blanks, (covered, end)) if stop - first >= BLANK]
