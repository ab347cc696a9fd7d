"""Write recognition results: tables, json, and pictures, each complete or absent."""

import csv
import json
import os
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from peclip.errors import InputError
from peclip.files import as_cell
from peclip.inference.cautions import about_faces
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

_LONGEST_STEM = 200  # bytes; a name has 255


class Timeline:
    """Writes tables, json and pictures of the rows of videos into a folder.

    - ``timeline.csv`` and ``timeline.json``: each row as it is, so windows of one face overlap;
    - ``segments.csv``: the stretches in which a face shows one expression, without overlap;
    - ``summary.csv``: each face with its seconds, the share of them per class, and mean probabilities;
    - a picture of each video over time, and ``people/`` with one of each face.

    Everything is written into a temporary folder as it comes, and moved at the end of the context if there was a video;
    memory does not grow with the number of rows.

    Args:
        folder: where the results go; it is made, and files of the same names in it are replaced.
        labels: class names, in the order of the probabilities.
        settings: how the videos are recognized, which the json file begins with.
        caution: what has to be said about every answer of the model; empty where there is nothing.
        formats: besides csv and json; see :mod:`peclip.inference.formats`.
        taken: beginnings of names that no picture may have.
        links: whether the files may name the place of the video on this machine, as ELAN's do to play it.

    Attributes:
        stems: beginnings of the names of the pictures of each video that was finished.
        rows: number of rows of the videos that were finished.
        faces: number of faces in them.
        cautions: about single answers, and the seconds for which each holds, summed over the faces.
        not_followed: largest number of faces at a time that are not followed.

    Raises:
        InputError: nothing can be written there.
    """

    def __init__(
        self,
        folder: Path,
        labels: list[str],
        settings: Settings,
        caution: str = "",
        formats: Sequence[str] = (),
        taken: Sequence[str] = (),
        links: bool = True,
    ) -> None:
        self.rows = self.faces = self.not_followed = 0
        self.cautions: dict[str, float] = {}
        self._formats, self._taken, self._links = formats, taken, links
        self._folder, self._labels, self._settings, self._caution = folder, labels, settings, caution
        self._is_about_faces = about_faces(labels, settings.faces)
        self._of_videos: list[str] = []
        self.stems: list[str] = []
        self._files = ExitStack()

    def __enter__(self) -> Self:
        place = check_place(self._folder)
        try:
            self._temporary = Path(tempfile.mkdtemp(prefix=".peclip-", dir=place))
            self._files.callback(shutil.rmtree, self._temporary, ignore_errors=True)
            self._table, self._segments, self._summary, self._json = map(self._open, (TABLE, SEGMENTS, SUMMARY, JSON))
        except OSError as error:
            self._files.close()
            raise self._unwritable(error) from error
        names = [column(label) for label in self._labels]
        self._write(self._table, [*FIRST_COLUMNS, *names, *LAST_COLUMNS])
        self._write(self._segments, ["file", "track", "start", "end", "seconds", "label", "probability", "caution"])
        shares = [f"{kind}_{label}" for kind in ("share", "mean") for label in self._labels]
        self._write(
            self._summary, ["file", "track", "picture", "first", "last", "seconds", "label", *shares, "caution"]
        )
        self._json.write(
            json.dumps({**self._settings.to_plain(), "labels": self._labels, "caution": self._caution})[:-1]
            + ', "rows": ['
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._files:
            if kind is None and self.stems:
                try:
                    self._finish()
                except OSError as error:
                    raise self._unwritable(error) from error

    def _open(self, name: str) -> TextIO:
        """Open a file of the results; names of videos need not be UTF-8."""
        file = (self._temporary / name).open("w", newline="", encoding="utf-8", errors="surrogateescape")
        return self._files.enter_context(file)

    def _finish(self) -> None:
        self._json.write("\n]}\n")
        for file in (self._table, self._segments, self._summary, self._json):
            file.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in (TABLE, SEGMENTS, SUMMARY, JSON, *self._of_videos):
            target = self._folder / name
            target.parent.mkdir(exist_ok=True)
            os.replace(self._temporary / name, target)

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(f"out {self._folder}: cannot be written ({error.strerror})")

    @contextmanager
    def video(self, file: str) -> Iterator[Callable[[Row], None]]:
        """Return a function that writes the rows of a video. If the context ends in an error, its rows are removed."""
        stem = stem_of(file, (*self._taken, *self.stems))
        persons = Persons(self._temporary, stem, len(self._labels))
        summary, cells, segments = Summary(), Cells(), Segments()
        kept: list[Segment] = []

        def cut(found: Iterator[Cell]) -> None:
            for cell in found:
                summary.add(cell)
                persons.warn(cell)
                label(segments.add(cell))

        def label(found: Iterator[Segment]) -> None:
            for segment in found:
                self._write_segment(file, segment)
                persons.add(segment)
                summary.label(segment)
                if self._formats:
                    kept.append(segment)

        def add(row: Row) -> None:
            persons.see(row)
            summary.see(row)
            self._write_row(row, persons)
            cut(cells.add(row))

        with self._whole_or_not_at_all():
            yield add
            cut(cells.finish())
            label(segments.finish())
            for person in persons:
                self._write_person(file, person)
            written = self._write_files_of(file, stem, kept, persons, summary)
        self.stems.append(stem)
        self._of_videos += written
        self._count(persons, summary)

    @contextmanager
    def _whole_or_not_at_all(self) -> Iterator[None]:
        """If the context ends in an error, remove the rows that it has written."""
        opened = (self._table, self._segments, self._summary, self._json)
        before, places = self.rows, [each.tell() for each in opened]
        try:
            yield
        except BaseException:
            self.rows = before
            for each, place in zip(opened, places, strict=True):
                each.seek(place)
                each.truncate()
            raise

    def _write_files_of(
        self, file: str, stem: str, segments: list[Segment], persons: Persons, summary: Summary
    ) -> list[str]:
        """Write the files that a video has of its own, and return the names of all, the pictures of its persons included."""
        video = Annotated(file, self._labels, segments, self._caution, self._links, self._is_about_faces)
        written = [write_format(name, self._temporary, stem, video) for name in self._formats]
        warnings = {person.track: ", ".join(person.warnings) for person in persons}
        picture = f"{stem}.png"
        draw_timeline(
            self._temporary / picture, summary, self._labels, file, self._caution, warnings, self._is_about_faces
        )
        return [picture, *persons.pictures, *written]

    def _count(self, persons: Persons, summary: Summary) -> None:
        """Add a video that is finished to the attributes that sum all of them up."""
        for person in persons:
            self.faces += 1
            for caution, seconds in person.cautions.items():
                self.cautions[caution] = self.cautions.get(caution, 0.0) + seconds
        self.not_followed = max(self.not_followed, summary.not_followed)

    def _write(self, file: TextIO, cells: Sequence[object]) -> None:
        csv.writer(file).writerow(cells)

    def _write_row(self, row: Row, persons: Persons) -> None:
        probabilities = [f"{row.probabilities[label]:.6f}" if row.probabilities else "" for label in self._labels]
        box = [f"{value:.1f}" for value in row.box] if row.box else [""] * 4
        picture = "" if row.track is None or row.picture is None else persons.picture_of(row.track)
        cautions = self._cautions(row.cautions) if row.label else ""
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

    def _write_segment(self, file: str, segment: Segment) -> None:
        label, probability = self._labels[segment.label], segment.probabilities[segment.label]
        times = f"{segment.start:.3f}", f"{segment.end:.3f}", f"{segment.seconds:.3f}"
        cells = [file_cell(file), segment.track, *times, label, f"{probability:.6f}", self._cautions(segment.cautions)]
        self._write(self._segments, cells)

    def _write_person(self, file: str, person: Person) -> None:
        shares = person.by_label / max(person.seconds, 1e-9)
        times = f"{person.first:.3f}", f"{person.last:.3f}", f"{person.seconds:.3f}"
        label, values = self._labels[int(person.by_label.argmax())], (*shares, *person.probabilities)
        first = (file_cell(file), person.track, person.picture, *times, label)
        self._write(self._summary, [*first, *(f"{value:.6f}" for value in values), self._cautions(person.warnings)])

    def _cautions(self, of_answers: Sequence[str]) -> str:
        return "; ".join([*([self._caution.partition(":")[0]] if self._caution else []), *of_answers])


def stem_of(file: str, taken: Sequence[str]) -> str:
    """Return a beginning of names for the pictures of a video.

    It is that of the file's name, without dots before it: ``..mp4`` would name the folder above. It differs from those that are
    taken also where names in upper and lower case are one, and leaves room for what follows it.
    """
    stem = "stdin" if file == STDIN else Path(file).stem.lstrip(".") or "video"
    while len(os.fsencode(stem)) > _LONGEST_STEM:
        stem = stem[:-1]
    others = {*map(_folded, taken)}
    names = (stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 2)))
    return next(name for name in names if _folded(name) not in others)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def check_place(folder: Path) -> Path:
    """Return the folder itself, or the one above it that exists.

    Raises:
        InputError: it is a file.
    """
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not place.is_dir():
        raise InputError(f"out {folder}: {place} is a file, expected a folder for the results")
    return place


def file_cell(file: str) -> str:
    """Return the name of a video as tables have it."""
    return file if file == STDIN else as_cell(file)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
