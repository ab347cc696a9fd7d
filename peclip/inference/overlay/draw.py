"""Draw answers into the frames of a video: a box for each face, and a timeline below the picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from peclip.inference.cautions import brief
from peclip.inference.overlay.paint import (
    BLACK,
    GREY,
    WHITE,
    fill,
    fitting,
    height_of,
    outline,
    rgb,
    width_of,
    wrapped,
    write,
)
from peclip.inference.segments import Segment
from peclip.inference.windows import Box
from peclip.labels import ink, label_colours

LANES = 4
"""Largest number of faces in the timeline at a time."""

SPAN = 30.0
"""Duration that the timeline shows, in seconds."""

_BACK, _LANE, _CAUTION = (24, 26, 30), (48, 51, 57), (255, 170, 160)
_SHOWN = 3  # classes whose probabilities are drawn beside a face


@dataclass(frozen=True)
class Moment:
    """The content of the drawing in one frame.

    Attributes:
        seconds: time of the frame.
        boxes: place of each face in pixels, by its number.
        labels: the segment that each face is in, by its number.
        answers: the answer about each face at this time, by its number.
        around: the segments of the timeline.
        end: duration of the video in seconds; None if it has not ended yet.
        not_followed: number of faces that are not followed.
    """

    seconds: float
    boxes: Mapping[int, Box]
    labels: Mapping[int, Segment]
    answers: Mapping[int, Segment]
    around: Sequence[Segment]
    end: float | None = None
    not_followed: int = 0


class Drawing:
    """Draws into the frames of one video.

    Args:
        width: width of the frames in pixels.
        height: height of the frames in pixels.
        labels: class names.
        caution: sentence about every answer of the model; empty if there is none.
        faces: number of faces that the video shows; the timeline has a lane for each, but for :data:`LANES` at most.

    Attributes:
        width: width of the frames in pixels.
        height: height of the frames in pixels, without the timeline below them.
    """

    def __init__(self, width: int, height: int, labels: Sequence[str], caution: str, faces: int = LANES) -> None:
        self.width, self.height = width, height
        self._labels = labels
        self._colours = [rgb(colour) for colour in label_colours(labels)]
        self._inks = [WHITE if ink(colour) == "white" else BLACK for colour in label_colours(labels)]
        self._font = min(max(round(min(width, height) / 32), 11), 36)
        self._line = height_of(self._font)
        self._caution = wrapped(brief(caution), self._font, width - 2 * self._gap)
        self._lanes: list[int | None] = [None] * min(max(faces, 1), LANES)

    @property
    def band(self) -> int:
        """Return the height of the timeline in pixels."""
        return (len(self._lanes) + 1 + len(self._caution)) * self._line + (len(self._lanes) + 2) * self._gap

    def draw(self, canvas: np.ndarray, moment: Moment) -> None:
        """Draw into a frame.

        Args:
            canvas: uint8 (H + band, W, 3), changed in place; the frame is in its upper part.
            moment: what is drawn.
        """
        picture = canvas[: self.height]
        for track, box in sorted(moment.boxes.items(), key=lambda item: item[1].width):  # the largest is drawn last
            self._draw_face(picture, track, box, moment.labels.get(track), moment.answers.get(track))
        self._draw_timeline(canvas[self.height :], moment)

    def _draw_face(
        self, picture: np.ndarray, track: int, box: Box, segment: Segment | None, answer: Segment | None
    ) -> None:
        colour = GREY if segment is None else self._colours[segment.label]
        left, top = box.left, box.top
        right, bottom = left + box.width, top + box.height
        outline(picture, left, top, right, bottom, colour, max(2, self._font // 6))
        text, letters = str(track), WHITE
        if segment is not None:
            letters = self._inks[segment.label]
            text = f"{track} {self._labels[segment.label]} {segment.probabilities[segment.label]:.0%}"
            text += "".join(f", {caution}" for caution in (answer or segment).cautions)
        wide = width_of(text, self._font) + self._gap
        x = min(max(left, 0), max(self.width - wide, 0))
        y = top - self._line if top >= self._line else max(top, 0)
        fill(picture, x, y, x + wide, y + self._line, colour)
        write(picture, x + self._gap / 2, y, text, self._font, letters)
        if answer is not None:
            self._draw_answer(picture, box, answer)

    def _draw_answer(self, picture: np.ndarray, box: Box, answer: Segment) -> None:
        """Draw the highest probabilities as bars below a face, or above its lower edge if there is no room below."""
        best = np.argsort(-answer.probabilities, kind="stable")[:_SHOWN]
        wide = max(width_of(f"{self._labels[index]} 100%", self._font) for index in best) + self._gap
        wide = max(wide, round(box.width))
        x = min(max(box.left, 0), max(self.width - wide, 0))
        room = self.height - (box.top + box.height)
        y = min(box.top + box.height, self.height) - (0 if room >= len(best) * self._line else len(best) * self._line)
        for place, index in enumerate(best):
            above, share = y + place * self._line, float(answer.probabilities[index])
            fill(picture, x, above, x + wide, above + self._line, BLACK, 0.6)
            fill(picture, x, above, x + wide * share, above + self._line, self._colours[index], 0.6)
            write(picture, x + self._gap / 2, above, f"{self._labels[index]} {share:.0%}", self._font)

    def _draw_timeline(self, band: np.ndarray, moment: Moment) -> None:
        band[:] = _BACK
        first, last = _span(moment)
        margin = width_of("000", self._font) + 2 * self._gap
        scale = (self.width - margin - self._gap) / (last - first)

        def x_of(seconds: float) -> float:
            return margin + (min(max(seconds, first), last) - first) * scale

        self._assign(moment)
        for lane, track in enumerate(self._lanes):
            y = self._gap + lane * (self._line + self._gap)
            fill(band, margin, y, x_of(last), y + self._line, _LANE)
            if track is not None:
                write(band, self._gap, y, str(track), self._font)
        for segment in moment.around:
            if segment.track in self._lanes:
                y = self._gap + self._lanes.index(segment.track) * (self._line + self._gap)
                self._draw_segment(band, x_of(segment.start), x_of(segment.end), y, segment)
        now, below = x_of(moment.seconds), self._gap + len(self._lanes) * (self._line + self._gap)
        fill(band, now - 1, self._gap / 2, now + 1, below, WHITE)
        self._write_below(band, margin, below, moment)

    def _draw_segment(self, band: np.ndarray, left: float, right: float, y: float, segment: Segment) -> None:
        fill(band, left, y, max(right - 1, left + 1), y + self._line, self._colours[segment.label])
        text = fitting(self._labels[segment.label], self._font, right - left - self._gap)
        if text:
            write(band, left + self._gap / 2, y, text, self._font, self._inks[segment.label])

    def _write_below(self, band: np.ndarray, left: float, y: float, moment: Moment) -> None:
        end = "" if moment.end is None else f" / {_clock(moment.end)}"
        hidden = len({segment.track for segment in moment.around}) - sum(track is not None for track in self._lanes)
        notes = [f"{_clock(moment.seconds)}{end}"]
        notes += [f"{hidden} more faces"] if hidden > 0 else []
        notes += [f"{moment.not_followed} faces not followed"] if moment.not_followed else []
        write(band, left, y, "   ".join(notes), self._font)
        for number, line in enumerate(self._caution, start=1):
            write(band, self._gap, y + number * self._line, line, self._font, _CAUTION)

    def _assign(self, moment: Moment) -> None:
        """Give each face of the timeline a lane, which it keeps while it is there."""
        there = {segment.track for segment in moment.around}
        self._lanes = [track if track in there else None for track in self._lanes]
        for track in chain(sorted(moment.boxes), sorted(there)):
            if track in there and track not in self._lanes and None in self._lanes:
                self._lanes[self._lanes.index(None)] = track

    @property
    def _gap(self) -> int:
        return max(3, self._font // 3)


def _span(moment: Moment) -> tuple[float, float]:
    """Return start and end of the timeline in seconds: the whole video, or a part of it that moves with the time."""
    if moment.end is not None and moment.end <= SPAN:
        return 0.0, max(moment.end, 1e-3)
    last = moment.seconds if moment.end is None else min(moment.seconds + SPAN / 2, moment.end)
    first = max(last - SPAN, 0.0)
    return first, first + SPAN


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds * 10), 600)
    return f"{minutes}:{rest // 10:02d}.{rest % 10}"
