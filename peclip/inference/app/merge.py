"""Choose and merge persons: rows of faces with several numbers that are one person's."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from peclip.errors import InputError
from peclip.inference.recognizer import Row

TOGETHER = 0.5
"""Seconds for which two faces of one person may be seen at once: one is found again before the other is given up."""


def merged(rows: Iterable[Row], numbers: Mapping[int, int]) -> list[Row]:
    """Return the rows of some faces under the numbers of the persons that they are, in order of time.

    Args:
        rows: of a video, with those of no face.
        numbers: the person of each face; rows of other faces are omitted.

    Raises:
        InputError: two faces of one person are seen at the same time.
    """
    kept = [row for row in rows if row.track is None or row.track in numbers]
    by_face: dict[int, list[Row]] = {}
    for row in kept:
        if row.track is not None:
            by_face.setdefault(row.track, []).append(row)
    faces = sorted(by_face)
    for place, face in enumerate(faces):
        for other in faces[place + 1 :]:
            if numbers[face] == numbers[other] and _overlap(by_face[face], by_face[other]) > TOGETHER:
                raise InputError(f"persons {face} and {other} are seen at the same time: they cannot be one person")
    renamed = [row if row.track is None else replace(row, track=numbers[row.track]) for row in kept]
    return sorted(renamed, key=lambda row: row.start)


def _overlap(rows: Sequence[Row], others: Sequence[Row]) -> float:
    """Return the longest time in seconds for which a row of each is seen at once."""
    return max((min(a.end, b.end) - max(a.start, b.start) for a in rows for b in others), default=0.0)
