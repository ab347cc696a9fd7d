"""Draw the timeline of a video: the expression of each face over time."""

from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from peclip.inference.recognizer import Row
from peclip.results.figures import MOST_CLASSES, save, shortened

MOST_SHOWN = 8
"""Maximum number of faces in a picture; of more, those that are visible longest are shown."""

_MOST_NAMED = 10  # classes that are drawn one by one where there are more than a picture shows
_MOST_KEPT = 64  # faces whose probabilities are kept until it is known which are seen longest
_LONGEST_TITLE = 110  # characters that fit in a line; the end of a path says most
_CELLS = 600  # intervals that a picture can resolve
_KNOWN_COLOURS = {
    "happiness": "#f2b134",
    "sadness": "#4a7fb5",
    "neutral": "#a9b0b7",
    "anger": "#d1495b",
    "surprise": "#8e5ea2",
    "disgust": "#5d9c59",
    "fear": "#2f4858",
}
_OTHER_COLOURS = ("#c97b63", "#3fb8af", "#7a6c5d", "#b5d33d", "#e377c2", "#1f9ed1", "#8c564b", "#636efa")


class Cell(NamedTuple):
    """A piece of time in seconds, and the probability (C) of each class in it."""

    start: float
    end: float
    probabilities: np.ndarray


class Summary:
    """The rows of one video in bounded memory: long videos are kept more coarsely, of many faces those seen longest.

    Attributes:
        end: seconds at which the last row ends.
        faces: number of faces in the rows.
    """

    def __init__(self) -> None:
        self.end = 0.0
        self.faces = 0
        self._cells: dict[int, list[Cell]] = {}
        self._row_end: dict[int, float] = {}

    def add(self, row: Row) -> None:
        """Add a row; rows come in order of time. Where two rows of one face overlap, each gets half of the overlap."""
        self.end = max(self.end, row.end)
        if row.track is None:
            return
        self.faces = max(self.faces, row.track)
        cells, start = self._cells.setdefault(row.track, []), row.start
        if cells and start < self._row_end[row.track]:
            start = (self._row_end[row.track] + start) / 2
            cells[-1] = cells[-1]._replace(end=max(start, cells[-1].start))
        cells.append(Cell(start, max(start, row.end), np.array([*row.probabilities.values()], dtype=np.float32)))
        self._row_end[row.track] = row.end
        if len(cells) > 4 * _CELLS:
            self._cells[row.track] = _coarser(cells, self.end / _CELLS)
        if len(self._cells) > _MOST_KEPT:
            del self._cells[min(self._cells.keys() - {row.track}, key=self._seen)]

    def tracks(self) -> dict[int, list[Cell]]:
        """Return the faces to show by number: at most :data:`MOST_SHOWN`, those that are seen longest."""
        longest = sorted(self._cells, key=self._seen, reverse=True)[:MOST_SHOWN]
        return {track: _coarser(self._cells[track], self.end / _CELLS) for track in sorted(longest)}

    def _seen(self, track: int) -> float:
        return sum(cell.end - cell.start for cell in self._cells[track])


def _coarser(cells: list[Cell], grain: float) -> list[Cell]:
    """Join neighbours that together last at most two grains, in seconds, and are less than one apart."""
    joined = cells[:1]
    for cell in cells[1:]:
        last = joined[-1]
        if cell.start - last.end > grain or cell.end - last.start > 2 * grain:
            joined.append(cell)
            continue
        lengths = np.array([last.end - last.start, cell.end - cell.start]) + 1e-9
        mean = np.average([last.probabilities, cell.probabilities], axis=0, weights=lengths)
        joined[-1] = Cell(last.start, cell.end, mean)
    return joined


def draw_timeline(path: Path, summary: Summary, labels: list[str], title: str) -> None:
    """Draw the probabilities of every class over time, one strip per face, with the most probable class above it.

    Of more than :data:`peclip.results.figures.MOST_CLASSES` classes the most probable ones are drawn, and the others together.

    Args:
        path: the picture, a .png.
        summary: the rows of the video.
        labels: C class names, in the order of the probabilities.
        title: of the picture.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    tracks = summary.tracks()
    places, names = drawn_classes(tracks, labels)
    strips = max(1, len(tracks))
    figure = Figure(figsize=(12, 1.3 + 1.35 * strips), layout="constrained")
    every = figure.subplots(strips, 1, sharex=True, squeeze=False)[:, 0]
    others = cycle(_OTHER_COLOURS)
    colours = [_KNOWN_COLOURS.get(name) or next(others) for name in names]
    if len(names) < len(labels):
        colours[-1] = "#d8d8d8"
    for axes, (number, cells) in zip(every, tracks.items(), strict=False):
        _draw_face(axes, cells, places, [*map(shortened, names)], colours, summary.end)
        axes.set_ylabel(f"face {number}\nprobability")
    if not tracks:
        every[0].text(0.5, 0.5, "no face was found", transform=every[0].transAxes, ha="center", va="center")
        every[0].set(yticks=[], facecolor="#f3f3f3")
    every[-1].set_xlim(0, max(summary.end, 1e-3))
    every[-1].set_xlabel("minutes:seconds" if summary.end > 120 else "seconds")
    if summary.end > 120:
        every[-1].xaxis.set_major_formatter(lambda value, _: f"{int(value) // 60}:{int(value) % 60:02d}")
    omitted = f" (the {len(tracks)} of {summary.faces} faces that are seen longest)" if summary.faces > strips else ""
    readable = title.encode(errors="replace").decode()  # a name need not be UTF-8
    if len(readable) > _LONGEST_TITLE:
        readable = f"…{readable[1 - _LONGEST_TITLE :]}"
    figure.suptitle(readable + omitted, parse_math=False)
    if tracks:
        patches = [*(Patch(color=colour) for colour in colours), Patch(facecolor="#f3f3f3", edgecolor="#999999")]
        columns = min(len(patches), 8)
        legend = figure.legend(patches, [""] * len(patches), loc="outside lower center", ncols=columns, frameon=False)
        for text, name in zip(legend.get_texts(), [*names, "not in sight"], strict=True):
            text.set(text=shortened(name), parse_math=False)  # a legend would omit a name that begins with _
    save(figure, path, dpi=110)


def drawn_classes(tracks: dict[int, list[Cell]], labels: list[str]) -> tuple[np.ndarray, list[str]]:
    """Return the place at which each of the C classes is drawn, int64 (C,), and the name of each place."""
    if len(labels) <= MOST_CLASSES:
        return np.arange(len(labels)), labels
    total = sum((cell.probabilities for cells in tracks.values() for cell in cells), start=np.zeros(len(labels)))
    named = np.sort(np.argsort(total)[-_MOST_NAMED:])
    places = np.full(len(labels), len(named))
    places[named] = np.arange(len(named))
    return places, [*(labels[index] for index in named), f"{len(labels) - len(named):,} others"]


def _draw_face(
    axes: Any, cells: list[Cell], places: np.ndarray, names: list[str], colours: list[str], end: float
) -> None:
    """Draw one face: probabilities stacked up from 0 to 1, and above them the most probable class.

    Args:
        axes: of the face.
        cells: of the face.
        places: of the classes in the stack, see :func:`drawn_classes`.
        names: of the places.
        colours: of the places.
        end: of the video, in seconds.
    """
    times, last = [], None
    shares: list[np.ndarray] = []
    for cell in cells:
        if last is not None and cell.start > last + 1e-6:
            times += [last, cell.start]
            shares += [np.zeros(len(names))] * 2
        times += [cell.start, cell.end]
        shares += [np.bincount(places, weights=cell.probabilities, minlength=len(names))] * 2
        last = cell.end
    stacked = np.vstack([np.zeros(len(times)), np.cumsum(np.array(shares).T, axis=0)])
    for index, colour in enumerate(colours):
        axes.fill_between(times, stacked[index], stacked[index + 1], color=colour, linewidth=0)
    for first, stop, index in _runs(cells, places):
        axes.broken_barh([(first, stop - first)], (1.06, 0.26), color=colours[index], linewidth=0)
        if stop - first > 0.011 * end * len(names[index]):
            style = {"ha": "center", "va": "center", "fontsize": 8, "color": "white", "weight": "bold"}
            axes.text((first + stop) / 2, 1.185, names[index], parse_math=False, **style)
    axes.set(ylim=(0, 1.36), yticks=[0, 0.5, 1], facecolor="#f3f3f3")


def _runs(cells: list[Cell], places: np.ndarray) -> list[tuple[float, float, int]]:
    """Return the spans of time with one most probable class: start, end, place of the class."""
    runs: list[tuple[float, float, int]] = []
    for cell in cells:
        index = int(places[cell.probabilities.argmax()])
        if runs and runs[-1][2] == index and cell.start <= runs[-1][1] + 1e-6:
            runs[-1] = (runs[-1][0], cell.end, index)
        else:
            runs.append((cell.start, cell.end, index))
    return runs
