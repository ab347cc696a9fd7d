"""Summarise each face of a video: how long it is seen, what it shows, and a picture of it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from einops import rearrange
from PIL import Image
from torch import Tensor

from peclip.inference.cautions import timed
from peclip.inference.recognizer import Row
from peclip.inference.segments import Cell, Segment

FOLDER = "people"
"""Folder of the pictures, below that of the results."""

_BETTER = 1.1  # a picture is replaced by one that is worth so many times as much


@dataclass
class Person:
    """One face of a video.

    Attributes:
        track: number of the face.
        picture: path of its picture, from the folder of the results.
        first: second at which it is first seen.
        last: second at which it is last seen.
        seconds: seconds for which it is seen.
        by_label: seconds for which each class is shown, (C).
        probabilities: mean probabilities over the time for which it is seen, (C).
        cautions: seconds for which each caution about its answers holds.
    """

    track: int
    picture: str
    first: float
    last: float
    by_label: np.ndarray
    cautions: dict[str, float] = field(default_factory=dict)
    weighted: np.ndarray = field(default_factory=lambda: np.zeros(1))

    @property
    def warnings(self) -> list[str]:
        """Return the cautions as tables and pictures have them, such as ``small face (1.2 s)``."""
        return [timed(name, seconds) for name, seconds in self.cautions.items()]

    @property
    def label(self) -> int:
        """Return the place in the labels of the class that it shows for the longest time."""
        return int(self.by_label.argmax())

    @property
    def shares(self) -> np.ndarray:
        """Return the share of each class in its time, from 0 to 1, (C)."""
        return self.by_label / max(self.seconds, 1e-9)

    @property
    def seconds(self) -> float:
        """Return the seconds for which it is seen."""
        return float(self.by_label.sum())

    @property
    def probabilities(self) -> np.ndarray:
        """Return the mean probabilities (C)."""
        return self.weighted / max(self.weighted.sum(), 1e-9)


class Persons:
    """Summarises the faces of one video, and keeps the best picture of each.

    Args:
        folder: folder of the results; pictures are written below it at once, so that memory holds none.
        stem: beginning of the names of the pictures.
        classes: number of classes C.
    """

    def __init__(self, folder: Path, stem: str, classes: int) -> None:
        self._folder, self._stem, self._classes = folder, stem, classes
        self._persons: dict[int, Person] = {}
        self._cautions: dict[int, dict[str, float]] = {}
        self._worth: dict[int, float] = {}

    def picture_of(self, track: int) -> str:
        """Return the path of a face's picture, relative to the folder of the results."""
        return f"{FOLDER}/{self._stem}-{track}.jpg"

    def see(self, row: Row) -> None:
        """Keep the picture of a row if it is the best of its face so far: large, surely a face, neither dark nor overexposed."""
        if row.track is None or row.picture is None or row.box is None:
            return
        score = 1.0 if row.score is None else row.score
        worth = score * math.sqrt(max(row.box.width, 1.0)) * (0.5 if row.cautions else 1.0)
        if worth > _BETTER * self._worth.get(row.track, 0.0):
            self._worth[row.track] = worth
            path = self._folder / self.picture_of(row.track)
            path.parent.mkdir(exist_ok=True)
            as_image(row.picture).save(path, quality=90)

    def warn(self, cell: Cell) -> None:
        """Add the time of the cautions of a cell."""
        of_face = self._cautions.setdefault(cell.track, {}) if cell.cautions else {}
        for caution in cell.cautions:
            of_face[caution] = of_face.get(caution, 0.0) + cell.seconds

    def add(self, segment: Segment) -> None:
        """Add the time of a segment, after that of its cells."""
        person = self._persons.get(segment.track)
        if person is None:
            picture, none = self.picture_of(segment.track), np.zeros(self._classes)
            person = Person(segment.track, picture, segment.start, segment.end, none, weighted=none.copy())
            self._persons[segment.track] = person
        person.first, person.last = min(person.first, segment.start), max(person.last, segment.end)
        person.by_label[segment.label] += segment.seconds
        person.weighted += segment.probabilities * segment.seconds

    def __iter__(self) -> Iterator[Person]:
        """Yield the persons by number."""
        for track in sorted(self._persons):
            yield replace(self._persons[track], cautions=self._cautions.get(track, {}))


def as_image(picture: Tensor) -> Image.Image:
    """Return a picture, uint8 (3, S, S), as an image."""
    return Image.fromarray(rearrange(picture, "c h w -> h w c").contiguous().numpy())
