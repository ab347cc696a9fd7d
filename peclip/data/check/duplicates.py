"""Find pieces of video that a manifest holds twice: the same piece under two names, or pieces that overlap."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

from peclip.data.check.inspection import same_content
from peclip.data.manifest import Manifest

ROUNDING = 0.001
"""Seconds by which two pieces may overlap: less than a frame, as rounded times of adjacent pieces do."""

Sides = Sequence[str]
"""For each row its side of a division, such as ``train``; empty if the division does not use it."""


@dataclass(frozen=True)
class Piece:
    """The part of a file that a row stands for.

    Attributes:
        row: number of the row, from 0.
        start: seconds, 0 for the beginning of the file.
        end: seconds, infinity for the end of the file.
    """

    row: int
    start: float
    end: float

    @property
    def seconds(self) -> str:
        """The times in words; empty for a whole file."""
        if (self.start, self.end) == (0, inf):
            return ""
        return f" from {self.start:g} s on" if self.end == inf else f" {self.start:g} to {self.end:g} s"


def find_duplicates(manifest: Manifest, divisions: Sequence[Sides]) -> tuple[list[str], list[str]]:
    """Return a sentence for each group of duplicates.

    Args:
        manifest: the clips; packed and missing ones are not compared.
        divisions: the sides of the rows, which may not share clips.

    Returns:
        Duplicates that do no harm; and those that are on several sides of a division or have several labels, with pieces of
        one file that overlap and are on different sides. Pieces that overlap on one side are no duplicates.
    """
    harmless: list[str] = []
    harmful: list[str] = []
    start, end = manifest.table["start"].fillna(0).tolist(), manifest.table["end"].fillna(inf).tolist()
    for rows in same_content(manifest):
        pieces = [Piece(row, start[row], end[row]) for row in rows]
        for same in _equal(pieces):
            split = next((side for side in divisions if len({side[piece.row] for piece in same} - {""}) > 1), None)
            contradict = split is not None or len({manifest.clip(piece.row).label for piece in same}) > 1
            named = [_named(manifest, piece, split or divisions[0]) for piece in same]
            (harmful if contradict else harmless).append(" = ".join(named))
        found: dict[tuple[Piece, Piece], Sides] = {}
        for sides in divisions:
            for pair in _overlapping(pieces, sides):
                found.setdefault(pair, sides)
        for pair, sides in found.items():
            harmful.append(" overlaps ".join(_named(manifest, piece, sides) for piece in pair))
    return harmless, harmful


def _equal(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Yield the groups of pieces of one file that are equal."""
    groups: dict[tuple[float, float], list[Piece]] = defaultdict(list)
    for piece in pieces:
        groups[piece.start, piece.end].append(piece)
    yield from (group for group in groups.values() if len(group) > 1)


def _overlapping(pieces: Sequence[Piece], sides: Sides) -> Iterator[tuple[Piece, Piece]]:
    """Yield pieces of one file that overlap but are not equal, and are on different sides.

    Of the pieces that overlap one of them, only one is named. Sorted by their starts, a piece overlaps an earlier one exactly if
    the latest end of those before lies behind its start, so that one pass finds all.
    """
    latest: dict[str, Piece] = {}
    for piece in sorted(pieces, key=lambda piece: piece.start):
        if not (side := sides[piece.row]):
            continue
        others = [other for name, other in latest.items() if name != side]
        longest = max(others, key=lambda other: other.end, default=None)
        overlaps = longest is not None and min(longest.end, piece.end) - piece.start > ROUNDING
        if longest and overlaps and (longest.start, longest.end) != (piece.start, piece.end):
            yield longest, piece
        if side not in latest or piece.end > latest[side].end:
            latest[side] = piece


def _named(manifest: Manifest, piece: Piece, sides: Sides) -> str:
    row = piece.row
    return f"{manifest.table['path'].iat[row]}{piece.seconds} ({manifest.clip(row).label}, {sides[row]})"
