"""Compute the answer about each face in each frame: its place there, and the probabilities of the windows around it; write the table."""

import csv
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

import numpy as np

from peclip.data.media.stream import FrameStream, TimedFrame
from peclip.inference.cautions import in_cell
from peclip.inference.recognizer import Recognizer, Row
from peclip.inference.sources import read_frames
from peclip.inference.timeline import file_cell
from peclip.inference.windows import Box, Tracked, View
from peclip.labels import column

_LATEST = 256  # frames that may be read ahead

FRAMES = "frames.csv"

_FIRST = ("file", "track", "frame", "time", "label")
_LAST = ("face_left", "face_top", "face_width", "face_height", "face_score", "caution")
_TRACK = _FIRST.index("track")


@dataclass(frozen=True)
class FaceInFrame:
    """One face in one frame.

    Attributes:
        file: the video.
        frame: number of the frame, from 0.
        seconds: time of the frame from the beginning of the video, in seconds.
        track: number of the face.
        box: its place, in pixels of the frame.
        score: score of the detector in this frame, from 0 to 1; None if it gives none.
        label: the most probable class.
        probabilities: probability of each class: the mean over the windows that have the frame, weighted by how near its time
            is to their middles. With windows of two seconds, one a second, this is linear interpolation between the middles.
        cautions: cautions about the answers of these windows.
    """

    file: str
    frame: int
    seconds: float
    track: int
    box: Box
    score: float | None
    label: str
    probabilities: Mapping[str, float] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()


class Numbered(FrameStream):
    """Frames of a video, and the numbers of the latest ones.

    Args:
        frames: the frames, in order of time.
    """

    def __init__(self, frames: Iterator[tuple[float, np.ndarray]]) -> None:
        self._latest: deque[tuple[float, int]] = deque(maxlen=_LATEST)

        def counted() -> Iterator[TimedFrame]:
            for number, (seconds, pixels) in enumerate(frames):
                self._latest.append((seconds, number))
                end = frames.end if isinstance(frames, FrameStream) else None
                yield TimedFrame(seconds, seconds if end is None else end, pixels)

        super().__init__(counted())

    def number(self, seconds: float) -> int:
        """Return the number, from 0, of one of the latest frames."""
        return next(number for begin, number in reversed(self._latest) if begin == seconds)


@dataclass(frozen=True)
class _Seen:
    frame: int
    seconds: float
    tracked: Tracked
    box: Box
    score: float


class PerFrame:
    """Brings the frames and the rows of one video together, both in order of time; it holds those of a few windows.

    Args:
        window: length of the windows in seconds.
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self._seen: deque[_Seen] = deque()
        self._rows: dict[int, deque[Row]] = {}

    def see(self, frame: int, seconds: float, view: View) -> None:
        """Note the faces of a frame. It may be called from another thread than the other methods."""
        self._seen.extend(_Seen(frame, seconds, who, face.box, face.score) for who, face in view.faces.items())

    def add(self, row: Row) -> Iterator[FaceInFrame]:
        """Yield the faces of the frames that no later row covers."""
        if row.track is not None:
            self._rows.setdefault(row.track, deque()).append(row)
        yield from self._answered(row.start - self._window)

    def finish(self) -> Iterator[FaceInFrame]:
        """Yield those of the last frames."""
        yield from self._answered(float("inf"))

    def _answered(self, before: float) -> Iterator[FaceInFrame]:
        while self._seen and self._seen[0].seconds < before:
            seen = self._seen.popleft()
            track = seen.tracked.number
            rows = self._rows.get(track, deque()) if track is not None else deque()
            while len(rows) > 1 and rows[0].end <= seen.seconds:
                rows.popleft()
            if found := _face(seen, [row for row in rows if row.start <= seen.seconds <= row.end]):
                yield found
        self._rows = {track: rows for track, rows in self._rows.items() if rows[-1].end > before - self._window}


def _face(seen: _Seen, rows: list[Row]) -> FaceInFrame | None:
    """Return a face with the answers of the windows that have it; None if there is none, because the face was seen too briefly."""
    if not rows or rows[0].track is None:
        return None
    weights = np.array([_nearness(row, seen.seconds) for row in rows])
    every = np.array([list(row.probabilities.values()) for row in rows])
    means = (weights @ every / weights.sum()).tolist()
    probabilities = dict(zip(rows[0].probabilities, means, strict=True))
    cautions = tuple(dict.fromkeys(caution for row in rows for caution in row.cautions))
    score = None if np.isnan(seen.score) else seen.score
    label = max(probabilities, key=probabilities.__getitem__)
    place = (seen.frame, seen.seconds, rows[0].track, seen.box, score)
    return FaceInFrame(rows[0].file, *place, label, probabilities, cautions)


def _nearness(row: Row, seconds: float) -> float:
    """Return how near a time is to the middle of a row: 1 there, and almost 0 at its ends."""
    half = max((row.end - row.start) / 2, 1e-9)
    return max(1 - abs(seconds - (row.start + row.end) / 2) / half, 1e-6)


def faces_in_frames(recognizer: Recognizer, source: str) -> Iterator[FaceInFrame]:
    """Recognize a video, and yield each face in each frame in which faces are looked for, in order of time.

    They come a few seconds after their frames are read, so that memory does not depend on the length of the video.

    Args:
        recognizer: the model.
        source: a video file, ``-``, or a camera, as for :class:`Recognizer`.

    Raises:
        InputError: as for the recognizer.
    """
    frames, faces = Numbered(read_frames(source)), PerFrame(recognizer.window)

    def watch(seconds: float, view: View) -> None:
        faces.see(frames.number(seconds), seconds, view)

    for row in recognizer.rows(frames, source, watch):
        yield from faces.add(row)
    yield from faces.finish()


class FrameTable:
    """The faces of one video, frame by frame. They are on disk until the numbers of the persons are known.

    Args:
        labels: class names, in the order of the probabilities.
        caution: sentence about every answer of the model; empty if there is none.
        window: length of the windows in seconds.

    Attributes:
        faces: collector of the frames, which brings them together with the rows.
    """

    def __init__(self, labels: Sequence[str], caution: str, window: float) -> None:
        self.faces = PerFrame(window)
        self._labels, self._caution = labels, caution
        self._file = TemporaryFile("w+", newline="", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
        self._rows = csv.writer(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, row: Row) -> None:
        """Add a row of the video; they come in order of time."""
        self._put(self.faces.add(row))

    def write(self, folder: Path, numbers: Mapping[int, int]) -> str:
        """Write the table into a folder after the last row, and return its name.

        Args:
            folder: folder of the results of the video.
            numbers: new number of a face by its number; faces that are missing keep theirs.
        """
        self._put(self.faces.finish())
        self._file.seek(0)
        with (folder / FRAMES).open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            table = csv.writer(file)
            table.writerow([*_FIRST, *map(column, self._labels), *_LAST])
            for row in csv.reader(self._file):
                track = int(row[_TRACK])
                table.writerow([*row[:_TRACK], numbers.get(track, track), *row[_TRACK + 1 :]])
        return FRAMES

    def _put(self, faces: Iterator[FaceInFrame]) -> None:
        for face in faces:
            cautions = in_cell(self._caution, face.cautions)
            score = "" if face.score is None else f"{face.score:.3f}"
            self._rows.writerow(
                [
                    *(file_cell(face.file), face.track, face.frame, f"{face.seconds:.3f}", face.label),
                    *(f"{face.probabilities[label]:.6f}" for label in self._labels),
                    *(f"{value:.1f}" for value in face.box),
                    *(score, cautions),
                ]
            )
