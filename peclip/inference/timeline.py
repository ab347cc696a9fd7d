"""Write recognition results: a table, the same as json, and a picture per video, each complete or absent."""

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from peclip.errors import InputError
from peclip.files import as_cell
from peclip.inference.picture import Summary, draw_timeline
from peclip.inference.recognizer import Row
from peclip.inference.sources import STDIN
from peclip.labels import column

TABLE, JSON = "timeline.csv", "timeline.json"


class Timeline:
    """Writes ``timeline.csv``, ``timeline.json`` and a picture per video into a folder.

    Everything is written into a temporary folder as it comes, and moved at the end of the context if there was a video;
    memory does not grow with the number of rows.

    Args:
        folder: where the results go; it is made, and files of the same names in it are replaced.
        labels: class names, in the order of the probabilities.
        head: entries of the json file besides the rows.

    Attributes:
        rows: number of rows of the videos that were finished.

    Raises:
        InputError: nothing can be written there.
    """

    def __init__(self, folder: Path, labels: list[str], head: dict[str, Any]) -> None:
        self.rows = 0
        self._folder, self._labels, self._head = folder, labels, head
        self._pictures: list[str] = []
        self._files = ExitStack()

    def __enter__(self) -> Self:
        place = next(path for path in (self._folder, *self._folder.absolute().parents) if path.exists())
        if not place.is_dir():
            raise InputError(f"out {self._folder}: {place} is a file, expected a folder for the results")
        try:
            self._temporary = Path(tempfile.mkdtemp(prefix=".peclip-", dir=place))
            self._files.callback(shutil.rmtree, self._temporary, ignore_errors=True)
            # names of files need not be UTF-8
            table = (self._temporary / TABLE).open("w", newline="", encoding="utf-8", errors="surrogateescape")
            self._table: TextIO = self._files.enter_context(table)
            self._json: TextIO = self._files.enter_context((self._temporary / JSON).open("w", encoding="utf-8"))
        except OSError as error:
            self._files.close()
            raise self._unwritable(error) from error
        csv.writer(self._table).writerow(
            ["file", "track", "start", "end", "label", *map(column, self._labels), "face_share"]
        )
        self._json.write(json.dumps({**self._head, "labels": self._labels})[:-1] + ', "rows": [')
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._files:
            if kind is None and self._pictures:
                try:
                    self._finish()
                except OSError as error:
                    raise self._unwritable(error) from error

    def _finish(self) -> None:
        self._json.write("\n]}\n")
        self._table.close()
        self._json.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in (TABLE, JSON, *self._pictures):
            os.replace(self._temporary / name, self._folder / name)

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(f"out {self._folder}: cannot be written ({error.strerror})")

    @contextmanager
    def video(self, file: str) -> Iterator[Callable[[Row], None]]:
        """Return a function that writes the rows of a video. If the context ends in an error, its rows are removed."""
        before = self.rows, self._table.tell(), self._json.tell()
        summary = Summary()

        def add(row: Row) -> None:
            self._write(row)
            summary.add(row)

        try:
            yield add
            name = self._picture_name(file)
            draw_timeline(self._temporary / name, summary, self._labels, file)
        except BaseException:
            self.rows, *places = before
            for opened, place in zip((self._table, self._json), places, strict=True):
                opened.seek(place)
                opened.truncate()
            raise
        self._pictures.append(name)

    def _write(self, row: Row) -> None:
        times = f"{row.start:.3f}", f"{row.end:.3f}"
        probabilities = [f"{row.probabilities[label]:.6f}" if row.probabilities else "" for label in self._labels]
        track = "" if row.track is None else row.track
        file = row.file if row.file == STDIN else as_cell(row.file)
        csv.writer(self._table).writerow(
            [file, track, *times, row.label or "", *probabilities, f"{row.face_share:.3f}"]
        )
        entry = {
            "file": row.file,
            "track": row.track,
            "start": round(row.start, 3),
            "end": round(row.end, 3),
            "label": row.label,
            "probabilities": {label: round(value, 6) for label, value in row.probabilities.items()},
            "face_share": round(row.face_share, 3),
        }
        self._json.write((",\n" if self.rows else "\n") + json.dumps(entry))
        self.rows += 1

    def _picture_name(self, file: str) -> str:
        """Return a name for the picture of a video that no other picture of this run has."""
        stem = "stdin" if file == STDIN else Path(file).stem
        names = (f"{stem}.png", *(f"{stem}-{number}.png" for number in range(2, len(self._pictures) + 2)))
        return next(name for name in names if name not in self._pictures)
