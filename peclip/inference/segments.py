"""Convert the rows of overlapping windows to times that add up: cells without overlap, and segments of one label."""

from collections.abc import Iterator
from itertools import pairwise
from math import inf
from typing import NamedTuple

import numpy as np

from peclip.inference.cautions import timed
from peclip.inference.recognizer import Row
from peclip.inference.windows import BLANK, LONGEST, Stretch

SHORTEST = 1.0
"""Seconds below which a change of the label does not begin a segment; its time belongs to the segment before."""

_TOGETHER = 1e-6  # seconds; smaller gaps are rounding


class Cell(NamedTuple):
    """A stretch of time in which the probabilities of a face are constant.

    Attributes:
        track: number of the face.
        start: start in seconds.
        end: end in seconds.
        probabilities: probability of each class, (C).
        cautions: cautions about the answer; see :mod:`peclip.inference.cautions`.
    """

    track: int
    start: float
    end: float
    probabilities: np.ndarray
    cautions: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Return its length."""
        return self.end - self.start


class Cells:
    """Cuts the rows of one video into cells: if two windows of a face overlap, each gets half of the overlap.

    Absences are in no cell; a gap shorter than :data:`BLANK` is not an absence, even between two windows. If several tracks are one
    face, a window has several rows of it.
    """

    def __init__(self) -> None:
        self._window: Stretch | None = None
        self._rows: dict[int, list[Row]] = {}  # of the faces in this window
        self._open: dict[int, list[Cell]] = {}  # of each face in the window before, which the next one may shorten

    def add(self, row: Row) -> Iterator[Cell]:
        """Yield the cells that no later row changes; windows come in order of time."""
        if row.window is None or row.window != self._window:
            yield from self._close()
        self._window = row.window
        for track in [track for track, cells in self._open.items() if row.start - cells[-1].end > LONGEST]:
            yield from self._open.pop(track)
        if row.track is not None:
            self._rows.setdefault(row.track, []).append(row)

    def finish(self) -> Iterator[Cell]:
        """Yield the remaining cells."""
        yield from self._close()
        for cells in self._open.values():
            yield from cells
        self._open.clear()

    def _close(self) -> Iterator[Cell]:
        """End a window: yield the cells of each face in the one before, and keep those in this one."""
        rows, self._rows = self._rows, {}
        for track, of_face in rows.items():
            cells, before = _in_order([cell for row in of_face for cell in _seen(row)]), self._open.get(track, [])
            if before and cells and cells[0].start < before[-1].end:
                middle = (before[-1].end + cells[0].start) / 2
                before, cells = _within(before, -inf, middle), _within(cells, middle, inf)
            if cells:
                joined = _bridged([*before, *cells])
                yield from joined[: len(before)]
                self._open[track] = joined[len(before) :]


def _seen(row: Row) -> Iterator[Cell]:
    """Yield a cell for each stretch in which a row sees its face."""
    probabilities = np.array([*row.probabilities.values()], dtype=np.float32)
    for first, last in row.present:
        yield Cell(row.track or 0, first, last, probabilities, row.cautions)


def _in_order(cells: list[Cell]) -> list[Cell]:
    """Return the cells of a face in a window in order of time; of an overlap of two tracks, each gets half."""
    found: list[Cell] = []
    for cell in sorted(cells, key=lambda cell: cell.start):
        if found and cell.end <= found[-1].end:
            continue
        if found and cell.start < found[-1].end:
            middle = (found[-1].end + cell.start) / 2
            found[-1], cell = found[-1]._replace(end=middle), cell._replace(start=middle)
        found.append(cell)
    return found


def _within(cells: list[Cell], start: float, end: float) -> list[Cell]:
    """Return what is between two times."""
    clipped = [cell._replace(start=max(cell.start, start), end=min(cell.end, end)) for cell in cells]
    return [cell for cell in clipped if cell.end > cell.start]


def _bridged(cells: list[Cell]) -> list[Cell]:
    """Return cells that are extended over gaps too short to be absences."""
    ends = [after.start if after.start - cell.end < BLANK - _TOGETHER else cell.end for cell, after in pairwise(cells)]
    return [cell._replace(end=end) for cell, end in zip(cells, ends, strict=False)] + cells[-1:]


class Segment(NamedTuple):
    """A stretch of time in which a face shows one expression.

    Attributes:
        track: number of the face.
        start: start in seconds.
        end: end in seconds.
        label: place of the class in the labels.
        probabilities: mean probability of each class over its time, (C).
        cautions: cautions about its answers, with the seconds if one does not hold for all of it, as in
            ``seen for a moment (0.2 s)``.
    """

    track: int
    start: float
    end: float
    label: int
    probabilities: np.ndarray
    cautions: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Return its length."""
        return self.end - self.start


class _Run(NamedTuple):
    """Cells of one label that follow each other."""

    label: int
    start: float
    end: float
    weighted: np.ndarray  # sum of probabilities times seconds
    cautions: dict[str, float]  # seconds for which each holds

    def with_next(self, other: "_Run") -> "_Run":
        return _Run(
            *(self.label, self.start, other.end),
            self.weighted + other.weighted,
            {
                name: self.cautions.get(name, 0.0) + other.cautions.get(name, 0.0)
                for name in self.cautions | other.cautions
            },
        )


class Segments:
    """Joins the cells of one video into segments.

    The label of a cell is the most probable class after smoothing over the cells beside it (weights 1/4, 1/2, 1/4). A change that
    lasts less than :data:`SHORTEST` is ignored. A face that is out of sight ends its segment.
    """

    def __init__(self) -> None:
        self._faces: dict[int, _Face] = {}

    def add(self, cell: Cell) -> Iterator[Segment]:
        """Yield the segments that end before a cell, the cells of each face coming in order of time."""
        for track in [track for track, face in self._faces.items() if cell.start - face.end > 2 * LONGEST]:
            yield from self._faces.pop(track).finish()
        yield from self._faces.setdefault(cell.track, _Face(cell.track)).add(cell)

    def finish(self) -> Iterator[Segment]:
        """Yield the remaining segments."""
        for face in self._faces.values():
            yield from face.finish()
        self._faces.clear()


class _Face:
    """The segments of one face."""

    def __init__(self, track: int) -> None:
        self._track = track
        self._cells: list[Cell] = []  # the one before, and the one that waits for the next
        self._segment: _Run | None = None
        self._change: _Run | None = None  # too short so far

    @property
    def end(self) -> float:
        return self._cells[-1].end

    def add(self, cell: Cell) -> Iterator[Segment]:
        if self._cells and cell.start - self.end > _TOGETHER:
            yield from self.finish()
        self._cells = [*self._cells[-2:], cell]
        if len(self._cells) > 1:
            yield from self._join(self._smoothed(len(self._cells) - 2))

    def finish(self) -> Iterator[Segment]:
        if self._cells:
            yield from self._join(self._smoothed(len(self._cells) - 1))
        if self._segment is not None:
            last = self._segment if self._change is None else self._segment.with_next(self._change)
            yield self._closed(last)
        self._cells, self._segment, self._change = [], None, None

    def _smoothed(self, place: int) -> _Run:
        """Return a cell with its label after smoothing over its neighbours."""
        cell = self._cells[place]
        beside = [self._cells[max(place - 1, 0)], self._cells[min(place + 1, len(self._cells) - 1)]]
        smooth = cell.probabilities / 2 + sum(other.probabilities for other in beside) / 4
        weighted = cell.probabilities.astype(np.float64) * max(cell.seconds, 1e-9)
        return _Run(int(smooth.argmax()), cell.start, cell.end, weighted, dict.fromkeys(cell.cautions, cell.seconds))

    def _join(self, run: _Run) -> Iterator[Segment]:
        segment, change = self._segment, self._change
        if segment is None:
            self._segment = run
            return
        if run.label == segment.label:
            self._segment = segment.with_next(run if change is None else change.with_next(run))
            self._change = None
            return
        if change is not None and change.label != run.label:
            self._segment = segment = segment.with_next(change)
            change = None
        change = run if change is None else change.with_next(run)
        if change.end - change.start < SHORTEST - _TOGETHER:
            self._change = change
        elif segment.end - segment.start < SHORTEST - _TOGETHER:
            self._segment, self._change = segment.with_next(change)._replace(label=change.label), None
        else:
            yield self._closed(segment)
            self._segment, self._change = change, None

    def _closed(self, run: _Run) -> Segment:
        mean, whole = run.weighted / run.weighted.sum(), run.end - run.start - _TOGETHER
        cautions = (name if seconds >= whole else timed(name, seconds) for name, seconds in run.cautions.items())
        return Segment(self._track, run.start, run.end, run.label, mean, tuple(cautions))
