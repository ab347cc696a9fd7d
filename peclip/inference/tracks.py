"""Track faces from frame to frame, and choose the square to crop around each."""

import math
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from peclip.inference.likeness import CONTRAST, likeness, look_of_face, look_of_frame

MARGIN = 1.3
"""Side of the square over the longer side of the face's box: chin, forehead and some hair, as benchmark crops have."""

GAP = 1.5
"""Longest time in seconds for which a track survives without its face, as behind a pillar; at least one frame."""

CONFIRMED, CONFIRMED_SECONDS = 3, 0.1
"""Frames in which a face must be found before it is a track, or fewer if these last so long: shorter detections
count as false."""

REACH = 0.8
"""Largest cost at which a face continues a track: sum of how far it moved, in widths, how much it grew, as a
logarithm, and how much it looks like another face."""

REACH_AT_CUT = 0.2
"""Largest cost at a cut, where only a face that hardly changes continues a track: otherwise a second person has appeared."""

UNLIKE, UNLIKE_LATER, UNLIKE_MOVED = 1.5, 0.75, 0.4
"""Weights of a different look: within a :data:`MOMENT`; later, when a head may have turned; and where a face that moved is expected
after it was hidden, since it comes out as it went in, half covered. Within a shot, looks of one face in consecutive frames correlate
above 0.9; at a cut to another face, mostly below 0.6."""

MOMENT = 0.1
"""Seconds within which a face looks much the same and keeps its speed."""

MEMORY, COVERED = 1.0, 0.25
"""Seconds before a face was last found from which its looks and places are remembered, and the last of these, in which it was half
covered if something came between: the middle of what was left of it does not show its speed."""

MOVED = 0.3
"""Least distance in widths from the last place of a hidden face to its expected place; below it, the face is taken to stay."""

SHOT, SHOT_CHANGE = 0.8, 10.0
"""Likeness of consecutive frames below which, and mean change in grey levels above which, a shot ends and another begins. Frames of
one shot correlate above 0.9 and change by less than 6 levels even if people run past; those of two shots, mostly below 0.75 and by
more than 15. In front of a plain wall a head that moves is unlike, but changes little."""

SETTLE_PLACE, SETTLE_SIZE = 0.1, 0.3
"""Seconds in which the square follows the face's place and size; quicker when the face moves far."""

SETTLE_ROLL = 0.1
"""Seconds in which the square follows the roll of the head."""

FOLLOWED = 2.0
"""Factor by which a face must be larger than one that is followed to take its place, if there are too many."""

EYES_APART = 0.15
"""Distance of the eyes over the width of the face below which they do not determine the roll of the head: it is in profile."""


@dataclass(frozen=True)
class Square:
    """A square in a frame, in pixels: its centre and its side. It may reach beyond the frame.

    Attributes:
        x: x of the centre, from the left edge of the frame.
        y: y of the centre, from the top edge of the frame.
        side: length of a side.
        roll: roll of the head in it, in radians, clockwise; 0 if it is not known.
    """

    x: float
    y: float
    side: float
    roll: float = 0.0


class Found(NamedTuple):
    """A face in a frame.

    Attributes:
        seconds: time of the frame.
        place: x and y of the centre and the larger side of the box.
        look: appearance of the face, as :func:`peclip.inference.likeness.look_of_face` returns it.
        score: score of the detector; NaN if it gives none.
        roll: roll of the head, as :func:`_roll` returns it.
    """

    seconds: float
    place: np.ndarray
    look: np.ndarray
    score: float
    roll: float | None


@dataclass(eq=False)
class Track:
    """One face over time.

    Attributes:
        number: number of the face, from 1 in order of appearance; None until the face is confirmed.
        place: x and y of the centre and the larger side of the box, as last found.
        speed: speed of the centre, in pixels per second.
        recent: times at which it was found in the :data:`MEMORY` before it was last found.
        seen: time at which it was last found, in seconds.
        shown: time until which the frame was shown in which it was last found, in seconds.
        hits: number of frames in which it was found.
        square: smoothed square around it.
        score: score of the detector when it was last found; NaN if it gives none.
    """

    place: np.ndarray
    recent: deque[Found]
    seen: float
    shown: float
    square: Square
    speed: np.ndarray
    score: float = math.nan
    hits: int = 1
    number: int | None = None

    @classmethod
    def of(cls, face: Found) -> "Track":
        """Return the track that begins with a face."""
        seconds, place = face.seconds, face.place
        square = Square(place[0], place[1], MARGIN * place[2], face.roll or 0.0)
        return cls(place, deque([face]), seconds, seconds, square, np.zeros(2), face.score)

    def cost(self, face: Found) -> tuple[float, bool]:
        """Return the cost of continuing this track with a face.

        Returns:
            the cost, and whether the motion of the face supports it: it was found a moment ago, or is at its expected place.
        """
        place, passed = face.place, face.seconds - self.seen
        grown = abs(math.log(place[2] / self.place[2]))
        expected = self.place[:2] + self.speed * passed if passed <= MOMENT else self._expected(face.seconds)
        went_on, stayed = _apart(place, expected) + grown, _apart(place, self.place) + grown
        if min(went_on, stayed) > REACH:
            return math.inf, False
        unlike = 1 - max(likeness(each.look, face.look) for each in self.recent)
        if passed <= MOMENT:
            return went_on + UNLIKE * unlike, True
        went_on, stayed = went_on + UNLIKE_MOVED * unlike, stayed + UNLIKE_LATER * unlike
        if went_on < stayed and _apart(self.place, expected) > MOVED:
            return went_on, True
        return stayed, False

    def _expected(self, seconds: float) -> np.ndarray:
        """Return x and y of a hidden face at the speed that it had before it was covered."""
        clear = [each for each in self.recent if each.seconds <= self.seen - COVERED]
        if len(clear) < 2:
            return self.place[:2]
        first, last = clear[0], clear[-1]
        speed = (last.place - first.place)[:2] / max(last.seconds - first.seconds, COVERED)
        return last.place[:2] + speed * (seconds - last.seconds)

    def follow(self, face: Found) -> None:
        """Continue the track with a face."""
        seconds, place, _, score, roll = face
        passed = max(seconds - self.seen, 1e-3)
        self.speed = 0.5 * self.speed + 0.5 * (place[:2] - self.place[:2]) / passed
        self.recent.append(face)
        while seconds - self.recent[0].seconds > MEMORY:
            self.recent.popleft()
        self.place, self.seen, self.shown, self.score = place, seconds, seconds, score
        self.hits += 1
        old, side = self.square, MARGIN * place[2]
        off = math.hypot(place[0] - old.x, place[1] - old.y) / old.side
        pull = min(1.0, 1 - math.exp(-passed / SETTLE_PLACE) + 2 * off)
        grown = abs(math.log(side / old.side))
        swell = min(1.0, 1 - math.exp(-passed / SETTLE_SIZE) + grown)
        turned = 0.0 if roll is None else (roll - old.roll + math.pi) % (2 * math.pi) - math.pi
        self.square = Square(
            old.x + pull * (place[0] - old.x),
            old.y + pull * (place[1] - old.y),
            old.side + swell * (side - old.side),
            old.roll + (1 - math.exp(-passed / SETTLE_ROLL)) * turned,
        )


class Tracker:
    """Assigns the faces of each frame to tracks. At a cut, where another face may be at the same place, most tracks end.

    Args:
        most: maximum number of faces that are tracked at once; of more, the largest are kept, and of those that are about as large,
            the ones that are tracked already.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._tracks: list[Track] = []
        self._numbered = 0
        self._last: float | None = None
        self._shot: np.ndarray | None = None

    def update(self, seconds: float, frame: np.ndarray, boxes: np.ndarray) -> list[Track]:
        """Update the tracks with the faces of the next frame.

        Args:
            seconds: time of the frame, not less than before.
            frame: uint8 (H, W, 3), RGB.
            boxes: (N, 4), (N, 5) or (N, 9), see :data:`peclip.inference.faces.Detector`.

        Returns:
            the tracks of its faces, from left to right.
        """
        step = seconds - (seconds if self._last is None else self._last)
        for track in self._tracks:
            track.shown = seconds if track.seen == self._last else track.shown  # a frame is shown until the next one
        self._last = seconds
        self._tracks = [track for track in self._tracks if seconds - track.shown <= max(GAP, 2 * step)]
        is_cut = self._is_cut(frame)
        faces = _faces(seconds, frame, self._chosen(boxes, is_cut))
        found = self._continued(faces, is_cut)
        if is_cut:
            self._tracks = [*found.values()]
        for new, face in enumerate(faces):
            if new not in found:
                found[new] = Track.of(face)
                self._tracks.append(found[new])
        needed = CONFIRMED if step == 0 else min(CONFIRMED, 1 + round(CONFIRMED_SECONDS / step))
        for track in self._tracks:
            if track.number is None and track.hits >= needed:
                self._number(track)
        return [found[new] for new in range(len(faces))]

    def _chosen(self, boxes: np.ndarray, is_cut: bool) -> np.ndarray:
        """Return the largest boxes, at most so many. Boxes of tracked faces count for more, so that faces of equal size stay tracked."""
        if len(boxes) <= self._most:
            return boxes
        areas = boxes[:, 2] * boxes[:, 3]
        places = [] if is_cut else [track.place for track in self._tracks]  # at a cut, they are those of another shot
        followed = np.stack(places) if places else np.zeros((0, 3))
        apart = np.linalg.norm(boxes[:, None, :2] + boxes[:, None, 2:4] / 2 - followed[:, :2], axis=2)
        areas = areas * np.where((apart < followed[:, 2] / 2).any(axis=1), FOLLOWED, 1.0)
        return boxes[np.argsort(-areas, kind="stable")[: self._most]]

    def _continued(self, faces: list[Found], is_cut: bool) -> dict[int, Track]:
        """Continue tracks with the faces that cost least, and return the tracks by the index of the face."""
        costs = sorted(  # a face that was hidden has lost its first frames to a new track, and gets it back before it has a number
            (track.number is None or not is_moving, cost, old, new)
            for old, track in enumerate(self._tracks)
            for new, face in enumerate(faces)
            for cost, is_moving in (track.cost(face),)
            if cost <= (REACH_AT_CUT if is_cut else REACH)
        )
        taken: set[int] = set()
        found: dict[int, Track] = {}
        for _, _, old, new in costs:
            if old not in taken and new not in found:
                taken.add(old)
                found[new] = self._tracks[old]
                found[new].follow(faces[new])
        return found

    def finish(self) -> None:
        """Confirm the faces of the latest frame: no later one can, or it is shown for long."""
        for track in self._tracks:
            if track.number is None and track.seen == self._last:
                self._number(track)

    def _is_cut(self, frame: np.ndarray) -> bool:
        """Return whether a frame begins another shot, compared with the latest frame that was not of a single colour."""
        whole, before = look_of_frame(frame), self._shot
        if float(whole @ whole) <= CONTRAST:
            return False
        self._shot = whole
        if before is None or likeness(before, whole) >= SHOT:
            return False
        return float(np.abs(whole - before).mean()) > SHOT_CHANGE

    def _number(self, track: Track) -> None:
        self._numbered += 1
        track.number = self._numbered


def _faces(seconds: float, frame: np.ndarray, boxes: np.ndarray) -> list[Found]:
    """Return the faces of a frame from left to right; see :meth:`Tracker.update`."""
    boxes = boxes[np.argsort(boxes[:, 0], kind="stable")]
    faces = []
    for x, y, width, height, *more in boxes.tolist():
        place = np.array([x + width / 2, y + height / 2, max(width, height, 1.0)])
        score = more[0] if more else math.nan
        roll = _roll(width, *more[1:5]) if len(more) > 4 else None
        faces.append(Found(seconds, place, look_of_face(frame, place), score, roll))
    return faces


def _apart(place: np.ndarray, other: np.ndarray) -> float:
    """Return how far a face (x, y and side) is from a place, in its sides."""
    return math.hypot(place[0] - other[0], place[1] - other[1]) / float(place[2])


def _roll(width: float, left: float, above: float, right: float, below: float) -> float | None:
    """Return the clockwise roll of a head in radians from the x and y of its eyes; None if they do not determine it."""
    apart = math.hypot(right - left, below - above)
    return math.atan2(below - above, right - left) if apart > EYES_APART * width else None
