"""Write a table with a row per frame and face."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

from peclip.inference.cautions import in_cell
from peclip.inference.per_frame import FaceInFrame, PerFrame
from peclip.inference.recognizer import Row
from peclip.inference.timeline import file_cell
from peclip.labels import column

FRAMES = "frames.csv"

_FIRST = ("file", "track", "frame", "time", "label")
_LAST = ("face_left", "face_top", "face_width", "face_height", "face_score", "caution")
_TRACK = _FIRST.index("track")


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
