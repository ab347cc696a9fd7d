"""Write what was recognized in a video: tables, json, and pictures."""

import csv
import json
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from peclip.errors import InputError
from peclip.files import as_cell, check_folder
from peclip.inference.cautions import about_faces, in_cell
from peclip.inference.formats import Annotated, write_format
from peclip.inference.persons import Person, Persons
from peclip.inference.picture import Summary, draw_timeline
from peclip.inference.recognizer import Row
from peclip.inference.segments import Cell, Cells, Segment, Segments
from peclip.inference.settings import Settings
from peclip.inference.sources import STDIN
from peclip.labels import column

TABLE, JSON, SEGMENTS, SUMMARY = "timeline.csv", "timeline.json", "segments.csv", "summary.csv"

FIRST_COLUMNS = ("file", "track", "start", "end", "label")
LAST_COLUMNS = (
    *("face_share", "face_left", "face_top", "face_width", "face_height", "face_score", "face_brightness"),
    *("face_picture", "faces_not_followed", "caution"),
)
"""Columns of the table before and after the probabilities of the classes."""

_SEGMENT_COLUMNS = ("file", "track", "start", "end", "seconds", "label", "probability", "caution")


class Timeline:
    """Writes tables, json and pictures of the rows of one video into a folder.

    - ``timeline.csv`` and ``timeline.json``: each row as it is, so windows of one face overlap;
    - ``segments.csv``: the stretches in which a face shows one expression, without overlap;
    - ``summary.csv``: each face with its seconds, the share of them per class, and mean probabilities;
    - a picture of the video over time, and ``people/`` with one of each face.

    The files grow as rows are added, and are complete at the end of the context. If the context ends in an error, they are removed,
    with the folders that were created for them. A process that is killed leaves them incomplete: write into a temporary folder,
    and move that. Memory does not grow with the number of rows.

    For example::

        recognizer = Recognizer("runs/demo/version_0")
        settings = Settings.of(recognizer, "demo", "yunet")
        with Timeline(Path("answers"), "holiday.mp4", "holiday", recognizer.labels, settings) as timeline:
            for row in recognizer("holiday.mp4"):
                timeline.add(row)

    Args:
        folder: folder for the files; it is created, and must be empty if it exists.
        file: the video, as the tables name it.
        stem: beginning of the names of the pictures and of the files in other formats.
        labels: class names, in the order of the probabilities.
        settings: how the video is recognized, which the json file begins with.
        caution: sentence about every answer of the model; empty if there is none.
        formats: formats to write besides csv and json; see :mod:`peclip.inference.formats`.
        links: whether the files may name the place of the video on this machine, as ELAN's do to play it.

    Attributes:
        rows: number of rows so far.
        persons: the faces by number, after the end of the context.
        segments: the stretches of ``segments.csv``, in order of their ends.
        cautions: seconds for which each caution about single answers holds, summed over the faces.
        not_followed: largest number of faces at a time that are not followed.

    Raises:
        InputError: the folder is a file, is not empty or cannot be written to, or a picture cannot be written.
        OSError: another file cannot be written, for example because the disk is full.
    """

    def __init__(
        self,
        folder: Path,
        file: str,
        stem: str,
        labels: Sequence[str],
        settings: Settings,
        caution: str = "",
        formats: Sequence[str] = (),
        links: bool = True,
    ) -> None:
        self.rows = self.not_followed = 0
        self.persons: list[Person] = []
        self.segments: list[Segment] = []
        self.cautions: dict[str, float] = {}
        self._folder, self._file, self._stem, self._labels = folder, file, stem, [*labels]
        self._settings, self._caution, self._formats, self._links = settings, caution, formats, links
        self._is_about_faces = about_faces(labels, settings.faces)
        self._persons = Persons(folder, stem, len(self._labels))
        self._drawn, self._cells, self._stretches = Summary(), Cells(), Segments()
        self._files = ExitStack()
        self._made: list[Path] = []

    def __enter__(self) -> Self:
        check_folder(self._folder)
        self._made = [path for path in (self._folder, *self._folder.absolute().parents) if not path.exists()]
        self._folder.mkdir(parents=True, exist_ok=True)
        if next(self._folder.iterdir(), None) is not None:
            raise InputError(f"{self._folder}: is not empty: name another folder for the files of {self._file}")
        with ExitStack() as opening:
            opening.callback(self._remove)
            opening.enter_context(self._files)
            self._table, self._segments, self._summary, self._json = map(self._open, (TABLE, SEGMENTS, SUMMARY, JSON))
            self._write_heads()
            opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as failing:
            failing.callback(self._remove)
            with self._files:
                if kind is None:
                    self._finish()
            if kind is None:
                failing.pop_all()

    def _remove(self) -> None:
        """Remove what was written, and the folders that were created for it."""
        with suppress(OSError):
            for path in [*self._folder.iterdir()]:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            for folder in self._made:
                folder.rmdir()

    def add(self, row: Row) -> None:
        """Write a row of the video; they come in order of time."""
        self._persons.see(row)
        self._drawn.see(row)
        self._write_row(row)
        self._cut(self._cells.add(row))

    def _open(self, name: str) -> TextIO:
        """Open a file of the results; names of videos need not be UTF-8."""
        file = (self._folder / name).open("w", newline="", encoding="utf-8", errors="surrogateescape")
        return self._files.enter_context(file)

    def _write_heads(self) -> None:
        names = [column(label) for label in self._labels]
        self._write(self._table, [*FIRST_COLUMNS, *names, *LAST_COLUMNS])
        self._write(self._segments, _SEGMENT_COLUMNS)
        shares = [f"{kind}_{label}" for kind in ("share", "mean") for label in self._labels]
        self._write(
            self._summary, ["file", "track", "picture", "first", "last", "seconds", "label", *shares, "caution"]
        )
        self._json.write(
            json.dumps({**self._settings.to_plain(), "labels": self._labels, "caution": self._caution})[:-1]
            + ', "rows": ['
        )

    def _cut(self, cells: Iterable[Cell]) -> None:
        """Write the segments that these cells end."""
        for cell in cells:
            self._drawn.add(cell)
            self._persons.warn(cell)
            self._keep(self._stretches.add(cell))

    def _keep(self, segments: Iterable[Segment]) -> None:
        for segment in segments:
            self._write_segment(segment)
            self._persons.add(segment)
            self._drawn.label(segment)
            self.segments.append(segment)

    def _finish(self) -> None:
        """Write the files that are known at the end of the video: its faces, its picture, and other formats."""
        self._cut(self._cells.finish())
        self._keep(self._stretches.finish())
        self._json.write("\n]}\n")
        self.persons = [*self._persons]
        self.not_followed = self._drawn.not_followed
        for person in self.persons:
            self._write_person(person)
            for caution, seconds in person.cautions.items():
                self.cautions[caution] = self.cautions.get(caution, 0.0) + seconds
        video = Annotated(self._file, self._labels, self.segments, self._caution, self._links, self._is_about_faces)
        for name in self._formats:
            write_format(name, self._folder, self._stem, video)
        warnings = {person.track: ", ".join(person.warnings) for person in self.persons}
        picture = self._folder / f"{self._stem}.png"
        draw_timeline(picture, self._drawn, self._labels, self._file, self._caution, warnings, self._is_about_faces)

    def _write(self, file: TextIO, cells: Sequence[object]) -> None:
        csv.writer(file).writerow(cells)

    def _write_row(self, row: Row) -> None:
        probabilities = [f"{row.probabilities[label]:.6f}" if row.probabilities else "" for label in self._labels]
        box = [f"{value:.1f}" for value in row.box] if row.box else [""] * 4
        picture = "" if row.track is None or row.picture is None else self._persons.picture_of(row.track)
        cautions = in_cell(self._caution, row.cautions) if row.label else ""
        first = (
            file_cell(row.file),
            "" if row.track is None else row.track,
            f"{row.start:.3f}",
            f"{row.end:.3f}",
            row.label or "",
        )
        measured = (f"{row.face_share:.3f}", *box, _number(row.score, 3), _number(row.brightness, 1))
        self._write(self._table, [*first, *probabilities, *measured, picture, row.not_followed, cautions])
        entry = {
            "file": row.file,
            "track": row.track,
            "start": round(row.start, 3),
            "end": round(row.end, 3),
            "label": row.label,
            "probabilities": {label: round(value, 6) for label, value in row.probabilities.items()},
            "face_share": round(row.face_share, 3),
            "face_box": [round(value, 1) for value in row.box] if row.box else None,
            "face_score": None if row.score is None else round(row.score, 3),
            "face_brightness": None if row.brightness is None else round(row.brightness, 1),
            "faces_not_followed": row.not_followed,
            "cautions": list(row.cautions),
            "face_picture": picture or None,
        }
        self._json.write((",\n" if self.rows else "\n") + json.dumps(entry))
        self.rows += 1

    def _write_segment(self, segment: Segment) -> None:
        self._write(self._segments, [*segment_cells(segment, self._file, self._labels, self._caution).values()])

    def _write_person(self, person: Person) -> None:
        times = f"{person.first:.3f}", f"{person.last:.3f}", f"{person.seconds:.3f}"
        first = (file_cell(self._file), person.track, person.picture, *times, self._labels[person.label])
        values = (f"{value:.6f}" for value in (*person.shares, *person.probabilities))
        self._write(self._summary, [*first, *values, in_cell(self._caution, person.warnings)])


def segment_cells(segment: Segment, file: str, labels: Sequence[str], caution: str) -> dict[str, str]:
    """Return a row of ``segments.csv`` by column.

    Args:
        segment: the segment.
        file: its video.
        labels: class names.
        caution: sentence about every answer of the model; empty if there is none.
    """
    times = f"{segment.start:.3f}", f"{segment.end:.3f}", f"{segment.seconds:.3f}"
    answer = labels[segment.label], f"{segment.probabilities[segment.label]:.6f}"
    cells = file_cell(file), str(segment.track), *times, *answer, in_cell(caution, segment.cautions)
    return dict(zip(_SEGMENT_COLUMNS, cells, strict=True))


def file_cell(file: str) -> str:
    """Return the name of a video as tables have it."""
    return file if file == STDIN else as_cell(file)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
