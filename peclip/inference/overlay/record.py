"""Remember on disk where each face is and what it shows, and compute from it what is drawn when the video is read a second time."""

import sqlite3
from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from peclip.inference.overlay.draw import SPAN, Moment
from peclip.inference.recognizer import Row
from peclip.inference.segments import Cell, Cells, Segment, Segments
from peclip.inference.windows import Box, Tracked, View

_UNSURE = 96
"""Views that are kept until their faces are confirmed: a face needs three frames with gaps of at most a track's GAP, or is
dropped, and there are at most 32 a second."""

_TABLES = """
CREATE TABLE view (number INTEGER PRIMARY KEY, seconds REAL, not_followed INTEGER);
CREATE TABLE box (view INTEGER, track INTEGER, x REAL, y REAL, width REAL, height REAL);
CREATE TABLE cell (track INTEGER, start REAL, end REAL, label INTEGER, probabilities BLOB, cautions TEXT);
CREATE TABLE segment (track INTEGER, start REAL, end REAL, label INTEGER, probabilities BLOB, cautions TEXT);
"""


class Sighted(NamedTuple):
    """A frame in which faces were looked for.

    Attributes:
        seconds: time of the frame.
        not_followed: number of faces that are not followed.
        boxes: place of each face in pixels, by its number.
    """

    seconds: float
    not_followed: int
    boxes: dict[int, Box]


class Record:
    """The findings of recognition in one video, in order of time. Their memory does not grow with the video.

    It is a temporary database of SQLite, which keeps on disk what its cache has no room for, and is gone when it is closed.

    Attributes:
        end: seconds at which the last answer ends.
    """

    def __init__(self) -> None:
        self.end = 0.0
        self._numbers: Mapping[int, int] = {}
        self._disk = sqlite3.connect("")
        self._disk.executescript(_TABLES)
        self._views: deque[tuple[float, int, list[tuple[Tracked, Box]]]] = deque()
        self._cells, self._segments = Cells(), Segments()
        self._number = 0

    def close(self) -> None:
        """Remove the database."""
        self._disk.close()

    def see(self, seconds: float, view: View) -> None:
        """Note where the faces of a frame are. It may be called from another thread than the other methods."""
        places = [(tracked, seen.box) for tracked, seen in view.faces.items()]
        self._views.append((seconds, view.not_followed, places))

    def write_seen(self) -> None:
        """Write the frames whose faces are confirmed or dropped to disk; it is called with each row as it comes."""
        self._write_views(_UNSURE)

    def add(self, row: Row) -> None:
        """Note an answer, with the number that its face gets; rows come in order of time."""
        self.end = max(self.end, row.end)
        self._cut(self._cells.add(row))

    def finish(self, numbers: Mapping[int, int]) -> None:
        """Note that the video has ended.

        Args:
            numbers: new number of a face by its number; faces that are missing keep theirs.
        """
        self._numbers = numbers
        self._write_views(0)
        self._cut(self._cells.finish())
        self._label(self._segments.finish())

    @property
    def faces(self) -> int:
        """Return the number of faces that have an answer."""
        return int(self._disk.execute("SELECT COUNT(DISTINCT track) FROM segment").fetchone()[0])

    def views(self) -> Iterator[Sighted]:
        """Yield each frame in which faces were looked for."""
        boxes = self._disk.execute("SELECT view, track, x, y, width, height FROM box ORDER BY rowid")
        box = next(boxes, None)
        for number, seconds, not_followed in self._disk.execute("SELECT * FROM view ORDER BY number"):
            found = {}
            while box is not None and box[0] == number:
                found[self._numbers.get(box[1], box[1])] = Box(*box[2:])
                box = next(boxes, None)
            yield Sighted(seconds, not_followed, found)

    def cells(self) -> Iterator[Segment]:
        """Yield the answers in order of their start, without overlap, each with its most probable class."""
        return self._read("cell")

    def segments(self) -> Iterator[Segment]:
        """Yield the segments in order of their start."""
        return self._read("segment")

    def _write_views(self, kept: int) -> None:
        while len(self._views) > kept:
            seconds, not_followed, places = self._views.popleft()
            self._number += 1
            self._disk.execute("INSERT INTO view VALUES (?, ?, ?)", (self._number, seconds, not_followed))
            self._disk.executemany(
                "INSERT INTO box VALUES (?, ?, ?, ?, ?, ?)",
                [(self._number, tracked.number, *box) for tracked, box in places if tracked.number is not None],
            )

    def _cut(self, found: Iterator[Cell]) -> None:
        for cell in found:
            label = int(cell.probabilities.argmax())
            self._write("cell", Segment(*cell[:3], label, cell.probabilities, cell.cautions))
            self._label(self._segments.add(cell))

    def _label(self, found: Iterator[Segment]) -> None:
        for segment in found:
            self._write("segment", segment)

    def _write(self, table: str, found: Segment) -> None:
        probabilities = found.probabilities.astype(np.float32).tobytes()
        values = (found.track, found.start, found.end, found.label, probabilities, "; ".join(found.cautions))
        self._disk.execute(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?)", values)

    def _read(self, table: str) -> Iterator[Segment]:
        for row in self._disk.execute(f"SELECT * FROM {table} ORDER BY start"):
            track, start, end, label, probabilities, cautions = row
            words = tuple(cautions.split("; ")) if cautions else ()
            yield Segment(track, start, end, label, np.frombuffer(probabilities, np.float32), words)


class Moments:
    """The moments of one video, in order of time.

    Args:
        record: what was recognized, finished.
    """

    def __init__(self, record: Record) -> None:
        self._views, self._view = record.views(), Sighted(0.0, 0, {})
        self._next = next(self._views, None)
        self._segments, self._answers = _Flow(record.segments()), _Flow(record.cells())
        self._end = record.end

    def at(self, seconds: float) -> Moment:
        """Return the content of the drawing in the frame at a time, which is never less than before."""
        while self._next is not None and self._next.seconds <= seconds:
            self._view, self._next = self._next, next(self._views, None)
        around = self._segments.between(seconds - SPAN, seconds + SPAN)
        answers = self._answers.between(seconds, seconds)
        return Moment(
            seconds,
            self._view.boxes,
            _now(around, seconds),
            _now(answers, seconds),
            around,
            self._end,
            self._view.not_followed,
        )


class _Flow:
    """Segments in order of their start, of which those around a time are kept."""

    def __init__(self, segments: Iterator[Segment]) -> None:
        self._coming, self._kept = segments, deque[Segment]()
        self._next = next(segments, None)

    def between(self, first: float, last: float) -> list[Segment]:
        """Return the segments that are shown between two times, which are never less than before."""
        while self._next is not None and self._next.start <= last:
            self._kept.append(self._next)
            self._next = next(self._coming, None)
        if any(segment.end < first for segment in self._kept):
            self._kept = deque(segment for segment in self._kept if segment.end >= first)
        return list(self._kept)


def _now(segments: list[Segment], seconds: float) -> dict[int, Segment]:
    """Return the segment that each face is in."""
    return {segment.track: segment for segment in segments if segment.start <= seconds < segment.end}
