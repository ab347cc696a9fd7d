"""Find the face that a clip shows longest, and say which of several it is."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from peclip.inference.crops import FoundFaces
from peclip.inference.tracks import Square, Track


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
