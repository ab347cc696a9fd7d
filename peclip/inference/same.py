"""Bring tracks together that a person says are one face: numbers that a cut or an absence has given twice."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from peclip.errors import InputError
from peclip.inference.recognizer import Row
from peclip.inference.windows import seconds_of, shared

OVERLAP_WHEN_STATED = 0.5
"""Seconds for which two tracks may overlap and still be one face where a person says so: a track ends a little after a cut. It is
longer than :data:`OVERLAP_WHEN_JOINED`, because somebody has looked: it only catches a number that was mistyped."""


def read_same(groups: Sequence[str]) -> dict[int, int]:
    """Return the number that each track of some groups gets, the smallest of its group.

    Args:
        groups: such as ``3,7``; groups that share a number are one.

    Raises:
        InputError: a group is something else.
    """
    joined: list[set[int]] = []
    for group in groups:
        words = [word.strip() for word in group.split(",")]
        are_numbers = all(word.isdecimal() and word.isascii() and int(word) for word in words)
        found = {int(word) for word in words} if are_numbers else set()
        if len(found) < 2:
            raise InputError(
                f"same is {group!r}: expected two or more numbers of faces, such as 3,7 without brackets", "same"
            )
        touched = [other for other in joined if other & found]
        joined = [other for other in joined if not other & found] + [found.union(*touched)]
    return {number: min(group) for group in joined for number in group}


def bring_together(rows: Iterable[Row], same: Mapping[int, int]) -> Iterator[Row]:
    """Yield rows with the numbers that :func:`read_same` returns.

    Args:
        rows: of one video.
        same: number by the number of the track.

    Raises:
        InputError: two tracks of a group are seen at the same time, so that they are two people; or a number is that of no
            track.
    """
    seen: set[int] = set()
    latest: dict[int, Row] = {}  # the last row of each track
    for row in rows:
        if row.track is None or row.track not in same:
            yield row
            continue
        seen.add(row.track)
        for number, other in latest.items():
            if number == row.track or same[number] != same[row.track]:
                continue
            together = shared(row.present, other.present)
            if seconds_of(together) > OVERLAP_WHEN_STATED:
                raise InputError(
                    f"same: {row.file} shows the faces {number} and {row.track} at the same time, from {together[0][0]:.1f} s on: "
                    "they are two people"
                )
        latest[row.track] = row
        yield replace(row, track=same[row.track])
    if missing := sorted(same.keys() - seen):
        raise InputError(
            f"same: there is no face {missing[0]}: the numbers are those of summary.csv of a run without same"
        )
