"""Cut faces out of frames, at the size of the model's frames, and find the face that a clip shows longest."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from peclip.data.media.canvas import Canvas
from peclip.inference.faces import Detector
from peclip.inference.tracks import MARGIN, Square, Track, Tracker
from peclip.inference.windows import MOST_FACES, Box, Seen, Tracked, View

Wants = Callable[[Tracked, float], bool]
"""Callable that accepts a face and the time of a frame in seconds, and returns whether its crop is needed."""

FASTEST = 1 / 32
"""Mean number of seconds between two frames in which faces are detected, at least; at 60 frames/s, in about every other one."""


@dataclass(eq=False)
class _Whole:
    number: int | None = 1


class WholeFrames:
    """Crops the middle of each frame as the one face of the video, as clips are read for training.

    Args:
        size: S, side of the crops in pixels.
    """

    def __init__(self, size: int) -> None:
        self._subject = _Whole()
        self._canvas = Canvas(Path(), 1, size, Fraction(1))

    def cut(self, seconds: float, frame: np.ndarray, wants: Wants) -> View:
        """Return the middle of a frame, uint8 (H, W, 3) RGB, as its face."""
        return self._view(frame, self._crop(frame) if wants(self._subject, seconds) else None)

    def hold(self, seconds: float, frame: np.ndarray, view: View | None) -> View:
        """Return the crop of a frame that is shown for long, and for which :meth:`cut` may have returned none."""
        return self._view(frame, self._crop(frame))

    def _view(self, frame: np.ndarray, crop: Tensor | None) -> View:
        height, width = frame.shape[:2]
        side = float(min(height, width))
        return View({self._subject: Seen(Box((width - side) / 2, (height - side) / 2, side, side), math.nan, crop)})

    def _crop(self, frame: np.ndarray) -> Tensor:
        self._canvas.put_image(frame, np.array([0]))
        return self._canvas.clip[0].clone()

    def finish(self) -> None:
        """Do nothing: there is one face, which needs no confirmation."""


class FoundFaces:
    """Detects and tracks the faces of a video, and crops a smoothed square around each.

    Args:
        size: S, side of the crops in pixels.
        detect: detector of faces.
        upright: whether crops are turned so that the eyes are level.
    """

    def __init__(self, size: int, detect: Detector, upright: bool = False) -> None:
        self._size, self._detect, self._upright = size, detect, upright
        self._tracker = Tracker(MOST_FACES)
        self._due = -math.inf

    def cut(self, seconds: float, frame: np.ndarray, wants: Wants) -> View | None:
        """Return the faces of a frame, uint8 (H, W, 3) RGB; None if the frame is skipped because it follows too soon."""
        if seconds < self._due:
            return None
        self._due = max(self._due + FASTEST, seconds)  # a single early frame is not skipped
        return self._view(seconds, frame, wants)

    def hold(self, seconds: float, frame: np.ndarray, view: View | None) -> View:
        """Return the faces of a frame that is shown for long, with all crops; its faces need no other frame to be confirmed.

        Args:
            seconds: time of the frame, the latest one.
            frame: uint8 (H, W, 3), RGB.
            view: faces that :meth:`cut` returned for it; None if it skipped the frame.
        """
        if view is None:
            view = self._view(seconds, frame, lambda *_: False)
        self._tracker.finish()
        whole = {
            track: seen._replace(crop=cut_out(frame, track.square, self._size, self._upright))
            for track, seen in view.faces.items()
            if seen.crop is None and isinstance(track, Track)
        }
        return view._replace(faces=view.faces | whole)

    def _view(self, seconds: float, frame: np.ndarray, wants: Wants) -> View:
        boxes = self._detect(frame)
        seen: dict[Tracked, Seen] = {}
        for track in self._tracker.update(seconds, frame, boxes):
            square, side = track.square, track.square.side / MARGIN
            crop = cut_out(frame, square, self._size, self._upright) if wants(track, seconds) else None
            seen[track] = Seen(Box(square.x - side / 2, square.y - side / 2, side, side), track.score, crop)
        return View(seen, len(boxes) - len(seen))

    def finish(self) -> None:
        """Confirm the faces of the last frames."""
        self._tracker.finish()


_KERNEL = 3  # pixels from which a bicubic kernel computes one, on either side


def cut_out(frame: np.ndarray, square: Square, size: int, upright: bool = False) -> Tensor:
    """Cut a square out of a frame and scale it.

    Args:
        frame: uint8 (H, W, 3), RGB.
        square: square to cut out; where it reaches beyond the frame, the frame's last pixels are repeated.
        size: side of the result in pixels.
        upright: whether the head in it is turned upright by its roll.

    Returns:
        uint8 (3, size, size).
    """
    roll = square.roll if upright else 0.0
    reach = square.side * (abs(math.cos(roll)) + abs(math.sin(roll))) / 2  # of a square around the turned one
    reach += _KERNEL if roll else 0
    x, y = math.floor(square.x - reach), math.floor(square.y - reach)
    picture = Image.fromarray(_inside(frame, x, y, math.ceil(square.x + reach), math.ceil(square.y + reach)))
    centre, half = (square.x - x, square.y - y), square.side / 2
    if roll:
        picture = picture.rotate(math.degrees(roll), Image.Resampling.BICUBIC, center=centre)
    box = (centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half)
    scaled = picture.resize((size, size), Image.Resampling.BICUBIC, box=box)
    return rearrange(torch.from_numpy(np.array(scaled)), "h w c -> c h w")


@dataclass(frozen=True)
class LongestTrack:
    """The face of a clip that is seen longest.

    Among faces that are seen equally long it is the one found in most frames, then the one that appears first, then the leftmost.

    Attributes:
        squares: its square by the number of the frame; empty if the clip has no face.
        seconds: seconds for which it is seen.
        of: duration of the clip in seconds.
        faces: number of faces in the clip.
        equals: number of other faces that are seen as long.
    """

    squares: dict[int, Square]
    seconds: float
    of: float
    faces: int
    equals: int

    @property
    def words(self) -> str:
        """Sentences that say which of several faces it is; empty if the clip has no other."""
        if self.faces < 2:
            return ""
        chosen = f"Of {self.faces} faces the one seen longest is explained: {self.seconds:.1f} s of {self.of:.1f} s."
        if not self.equals:
            return chosen
        others = "Another is seen as long and appears"
        if self.equals > 1:
            others = f"{self.equals} others are seen as long and appear"
        return f"{chosen} {others} later or further right."


def longest_track(frames: Iterator[tuple[float, np.ndarray]], faces: FoundFaces) -> LongestTrack:
    """Return the face that is seen longest.

    Args:
        frames: frames of the clip, each its time in seconds and uint8 (H, W, 3) RGB.
        faces: detector and tracker of the faces.
    """
    squares: defaultdict[Any, dict[int, Square]] = defaultdict(dict)
    seen: defaultdict[Any, float] = defaultdict(float)
    before: tuple[float, list[Any]] = 0.0, []
    first: float | None = None
    for number, (seconds, frame) in enumerate(frames):
        view = faces.cut(seconds, frame, lambda *_: False)
        if view is None:
            continue
        first = seconds if first is None else first
        for track in before[1]:
            seen[track] += seconds - before[0]
        for track in view.faces:
            assert isinstance(track, Track)
            squares[track][number] = track.square
        before = seconds, list(view.faces)
    faces.finish()
    # Times are sums of floating-point numbers: equal ones may differ by their last digits.
    known = {track: (round(seen[track], 3), len(squares[track])) for track in squares if track.number is not None}
    of = before[0] - (first or 0.0)
    if not known:
        return LongestTrack({}, 0.0, of, 0, 0)
    longest = max(known, key=lambda track: known[track])  # the first of equals, as they appeared and from left to right
    equals = [*known.values()].count(known[longest]) - 1
    return LongestTrack(squares[longest], seen[longest], of, len(known), equals)


def _inside(frame: np.ndarray, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """Return a part of a frame, (H, W, 3); beyond its border its last pixels are repeated."""
    height, width = frame.shape[:2]
    if left < 0 or top < 0 or right > width or bottom > height:
        columns, rows = np.arange(left, right).clip(0, width - 1), np.arange(top, bottom).clip(0, height - 1)
        return frame.take(rows, axis=0).take(columns, axis=1)
    return frame[top:bottom, left:right]
