"""Compute the content of the drawing in each frame of a video from the record of recognition."""

from collections import deque
from collections.abc import Iterator

from peclip.inference.overlay.draw import SPAN, Moment
from peclip.inference.overlay.record import Record, Sighted
from peclip.inference.segments import Segment


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
