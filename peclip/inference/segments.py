"""Turn the rows of overlapping windows into times that add up: cells without overlap, and segments of one label."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from peclip.inference.cautions import timed
from peclip.inference.recognizer import Row
from peclip.inference.windows import LONGEST, Stretch, present

SHORTEST = 1.0
"""Seconds below which a change of the label is no segment of its own; its time belongs to the one before."""

_TOGETHER = 1e-6  # seconds; smaller gaps are rounding


class Cell(NamedTuple):
    """A piece of the time of a face.

    Attributes:
        track: number of the face.
        start: seconds.
        end: seconds.
        probabilities: (C).
        cautions: of the answer; see :mod:`peclip.inference.cautions`.
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


class _Open(NamedTuple):
    """A cell whose end the next row may change, and the absences of its face."""

    cell: Cell
    absences: tuple[Stretch, ...]

    def cut(self, end: float) -> Iterator[Cell]:
        """Yield what is seen of the face until a second."""
        for first, last in present(self.cell.start, end, self.absences):
            yield self.cell._replace(start=first, end=last)


class Cells:
    """Cuts the rows of one video into cells: where two rows of a face overlap, each gets half of the overlap. Absences are in none."""

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}

    def add(self, row: Row) -> Iterator[Cell]:
        """Yield the cells that no later row changes; rows come in order of time."""
        for track in [track for track, each in self._open.items() if row.start - each.cell.end > LONGEST]:
            last = self._open.pop(track)
            yield from last.cut(last.cell.end)
        if row.track is None:
            return
        start, before = row.start, self._open.get(row.track)
        if before is not None:
            end = before.cell.end
            if start < end:
                start = end = max(before.cell.start, (end + start) / 2)
            yield from before.cut(end)
        probabilities = np.array([*row.probabilities.values()], dtype=np.float32)
        cell = Cell(row.track, start, max(start, row.end), probabilities, row.cautions)
        self._open[row.track] = _Open(cell, row.absences)

    def finish(self) -> Iterator[Cell]:
        """Yield the cells that are left."""
        for each in self._open.values():
            yield from each.cut(each.cell.end)
        self._open.clear()


class Segment(NamedTuple):
    """A stretch of time in which a face shows one expression.

    Attributes:
        track: number of the face.
        start: seconds.
        end: seconds.
        label: place of the class in the labels.
        probabilities: mean over its time (C).
        cautions: of its answers, with seconds where one does not hold for all of it, as in ``seen for a moment (0.2 s)``.
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
        """Yield the segments that are left."""
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
        """Return a cell with the label that it has beside its neighbours."""
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
