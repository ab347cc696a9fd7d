"""Draw the timeline of a video: the expression of each face over time."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from einops import rearrange

from peclip.inference.persons import as_image
from peclip.inference.recognizer import Row
from peclip.inference.segments import Cell, Segment
from peclip.labels import MOST_CLASSES, ink, label_colours
from peclip.results.figures import save, shortened

MOST_SHOWN = 8
"""Maximum number of faces in a picture; of more, those that are visible longest are shown."""

STILL = 44
"""Side in pixels of a face beside the timeline."""

T = TypeVar("T")

_MOST_STILLS = 48  # faces of one person that are kept
_MOST_IN_A_LINE = 24  # that the width of the picture has room for
_MOST_NAMED = 10  # classes that are drawn one by one if there are more than a picture shows
_MOST_KEPT = 64  # faces whose probabilities are kept until it is known which are seen longest
_LONGEST_TITLE = 110  # characters that fit in a line; the end of a path says most
_TOP = 2.05  # of a strip: probabilities up to 1, above them the label and the faces
_RED, _HATCH = "#b3261e", "#1c1c1c"  # of the cautions, and of the answers that they are about
_CELLS = 600  # intervals that a picture can resolve


class Still(NamedTuple):
    """A face at a moment in seconds, uint8 (H, W, 3)."""

    seconds: float
    picture: np.ndarray


class Summary:
    """Summary of one video in bounded memory: of long videos fewer moments are kept, of many faces those seen longest.

    Attributes:
        end: seconds at which the last row ends.
        faces: number of faces in the rows.
        not_followed: largest number of faces at a time that are not followed.
    """

    def __init__(self) -> None:
        self.end = 0.0
        self.faces = self.not_followed = 0
        self._cells: dict[int, list[Cell]] = {}
        self._segments: dict[int, list[Segment]] = {}
        self._stills: dict[int, list[Still]] = {}

    def see(self, row: Row) -> None:
        """Note how long the video is, and what a face looks like."""
        self.end, self.not_followed = max(self.end, row.end), max(self.not_followed, row.not_followed)
        if row.track is None:
            return
        self.faces = max(self.faces, row.track)
        if row.picture is None:
            return
        stills, seconds = self._stills.setdefault(row.track, []), (row.start + row.end) / 2
        if stills and seconds - stills[-1].seconds < self._grain:
            return
        stills.append(Still(seconds, np.asarray(as_image(row.picture).resize((STILL, STILL)))))
        if len(stills) > _MOST_STILLS:
            self._stills[row.track] = _apart(stills, 2 * self._grain)
        self._forget(self._stills, row.track, len)

    def add(self, cell: Cell) -> None:
        """Add a cell; those of a face come in order of time."""
        cells = self._cells.setdefault(cell.track, [])
        cells.append(cell)
        if len(cells) > 4 * _CELLS:
            self._cells[cell.track] = _coarser(cells, self.end / _CELLS)
        self._forget(self._cells, cell.track, _seen)

    def label(self, segment: Segment) -> None:
        """Add a segment; of very many, those that a picture cannot resolve are omitted."""
        segments = self._segments.setdefault(segment.track, [])
        segments.append(segment)
        if len(segments) > 4 * _CELLS:
            self._segments[segment.track] = [each for each in segments if each.seconds > self.end / _CELLS]
        self._forget(self._segments, segment.track, _seen)

    def segments(self, track: int) -> list[Segment]:
        """Return the segments of a face in order of time."""
        return self._segments.get(track, [])

    def tracks(self) -> dict[int, list[Cell]]:
        """Return the faces to show by number: at most :data:`MOST_SHOWN`, those that are seen longest."""
        longest = sorted(self._cells, key=lambda track: _seen(self._cells[track]), reverse=True)[:MOST_SHOWN]
        return {track: _coarser(self._cells[track], self.end / _CELLS) for track in sorted(longest)}

    def stills(self, track: int) -> list[Still]:
        """Return pictures of a face in order of time, with room for each in the width of the picture."""
        return _apart(self._stills.get(track, []), self.end / _MOST_IN_A_LINE)

    @property
    def _grain(self) -> float:
        return self.end / _MOST_STILLS

    def _forget(self, kept: dict[int, list[T]], latest: int, worth: Callable[[list[T]], float]) -> None:
        """Forget the face that is worth least if there are too many."""
        if len(kept) > _MOST_KEPT:
            del kept[min(kept.keys() - {latest}, key=lambda track: worth(kept[track]))]


def _apart(stills: list[Still], seconds: float) -> list[Still]:
    """Return pictures that are at least so many seconds apart."""
    chosen: list[Still] = []
    for still in stills:
        if not chosen or still.seconds - chosen[-1].seconds >= seconds:
            chosen.append(still)
    return chosen


def _seen(times: Sequence[Cell | Segment]) -> float:
    return sum(time.seconds for time in times)


def _coarser(cells: list[Cell], grain: float) -> list[Cell]:
    """Join neighbouring cells that together last at most two grains, in seconds, and are less than one grain apart."""
    joined = cells[:1]
    for cell in cells[1:]:
        last = joined[-1]
        if cell.start - last.end > grain or cell.end - last.start > 2 * grain:
            joined.append(cell)
            continue
        lengths = np.array([last.end - last.start, cell.end - cell.start]) + 1e-9
        mean = np.average([last.probabilities, cell.probabilities], axis=0, weights=lengths)
        cautions = tuple(dict.fromkeys(last.cautions + cell.cautions))
        joined[-1] = last._replace(end=cell.end, probabilities=mean, cautions=cautions)
    return joined


def draw_timeline(
    path: Path,
    summary: Summary,
    labels: list[str],
    title: str,
    caution: str = "",
    warnings: Mapping[int, str] | None = None,
    is_about_faces: bool = True,
) -> None:
    """Draw the probabilities of every class over time, one strip per face, with the most probable class and the face above it.

    Answers with a caution of their own are hatched. Of more than :data:`peclip.labels.MOST_CLASSES` classes the most
    probable ones are drawn, and the others together.

    Args:
        path: the picture, a .png.
        summary: the rows of the video.
        labels: C class names, in the order of the probabilities.
        title: title of the picture.
        caution: sentence below the title.
        warnings: cautions of each face by its number.
        is_about_faces: whether answers are about faces, which then have numbers; else about whole frames.
    """
    from matplotlib.figure import Figure

    tracks = summary.tracks()
    above = _above(tracks, caution, warnings or {})
    places, names = drawn_classes(tracks, labels)
    strips = max(1, len(tracks))
    figure = Figure(figsize=(12, 1.3 + 1.9 * strips + 0.25 * sum(map(len, above))), layout="constrained")
    every = figure.subplots(strips, 1, sharex=True, squeeze=False)[:, 0]
    colours = label_colours(names)
    if len(names) < len(labels):
        colours[-1] = "#d8d8d8"
    for axes, (number, cells) in zip(every, tracks.items(), strict=False):
        _draw_face(axes, cells, places, colours)
        _draw_segments(axes, summary.segments(number), places, [*map(shortened, names)], colours, summary.end)
        _draw_stills(axes, summary.stills(number))
        axes.set_ylabel(f"face {number}\nprobability" if is_about_faces else "probability")
    if not tracks:
        _draw_nothing(every[0], "no face was found" if is_about_faces else "no answer")
    every[-1].set_xlim(0, max(summary.end, 1e-3))
    every[-1].set_xlabel("minutes:seconds" if summary.end > 120 else "seconds")
    if summary.end > 120:
        every[-1].xaxis.set_major_formatter(lambda value, _: f"{int(value) // 60}:{int(value) % 60:02d}")
    figure.suptitle(_headline(title, summary, strips), parse_math=False)
    for axes, lines in zip(every, above, strict=True):
        axes.set_title("\n".join(lines), color=_RED, fontsize=10, parse_math=False)
    if tracks:
        _draw_legend(figure, names, colours)
    save(figure, path, dpi=110)


def _draw_nothing(axes: Any, text: str) -> None:
    """Write the reason into an empty strip."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center")
    axes.set(yticks=[], facecolor="#f3f3f3")


def _headline(title: str, summary: Summary, strips: int) -> str:
    """Return a title, cut at its beginning if it is long, and the number of faces that have no strip."""
    omitted = f" (the {strips} of {summary.faces} faces that are seen longest)" if summary.faces > strips else ""
    if summary.not_followed:
        omitted += f", and up to {summary.not_followed} faces at a time that were not followed"
    readable = title.encode(errors="replace").decode()  # a name need not be UTF-8
    return (f"…{readable[1 - _LONGEST_TITLE :]}" if len(readable) > _LONGEST_TITLE else readable) + omitted


def _draw_legend(figure: Any, names: Sequence[str], colours: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    patches = [*(Patch(color=colour) for colour in colours), Patch(facecolor="#f3f3f3", edgecolor="#999999")]
    columns = min(len(patches), 8)
    legend = figure.legend(patches, [""] * len(patches), loc="outside lower center", ncols=columns, frameon=False)
    for text, name in zip(legend.get_texts(), [*names, "not in sight"], strict=True):
        text.set(text=shortened(name), parse_math=False)  # a legend would omit a name that begins with _


def _above(tracks: Iterable[int], caution: str, warnings: Mapping[int, str]) -> list[list[str]]:
    """Return the lines above each strip: the cautions of its answers, and above the first one that of the model."""
    every = [[f"hatched: {warnings[track]}"] if warnings.get(track) else [] for track in tracks] or [[]]
    return [[caution, *every[0]] if caution else every[0], *every[1:]]


def drawn_classes(tracks: dict[int, list[Cell]], labels: list[str]) -> tuple[np.ndarray, list[str]]:
    """Return the place at which each of the C classes is drawn, int64 (C,), and the name of each place."""
    if len(labels) <= MOST_CLASSES:
        return np.arange(len(labels)), labels
    total = sum((cell.probabilities for cells in tracks.values() for cell in cells), start=np.zeros(len(labels)))
    named = np.sort(np.argsort(total)[-_MOST_NAMED:])
    places = np.full(len(labels), len(named))
    places[named] = np.arange(len(named))
    return places, [*(labels[index] for index in named), f"{len(labels) - len(named):,} others"]


def _draw_face(axes: Any, cells: list[Cell], places: np.ndarray, colours: list[str]) -> None:
    """Draw one face: probabilities stacked up from 0 to 1.

    Args:
        axes: axes of the strip of the face.
        cells: cells of the face, in order of time.
        places: place of each class in the stack, int64 (C,); see :func:`drawn_classes`.
        colours: colour of each place.
    """
    times, last = [], None
    shares: list[np.ndarray] = []
    for cell in cells:
        if last is not None and cell.start > last + 1e-6:
            times += [last, cell.start]
            shares += [np.zeros(len(colours))] * 2
        times += [cell.start, cell.end]
        shares += [np.bincount(places, weights=cell.probabilities, minlength=len(colours))] * 2
        last = cell.end
    stacked = np.vstack([np.zeros(len(times)), np.cumsum(rearrange(np.array(shares), "t c -> c t"), axis=0)])
    for index, colour in enumerate(colours):
        axes.fill_between(times, stacked[index], stacked[index + 1], color=colour, linewidth=0)
    doubtful = [(cell.start, cell.seconds) for cell in cells if cell.cautions]
    axes.broken_barh(doubtful, (0, 1), facecolor="none", edgecolor=_HATCH, hatch="////", linewidth=0)
    axes.set(ylim=(0, _TOP), yticks=[0, 0.5, 1], facecolor="#f3f3f3")


def _draw_segments(
    axes: Any, segments: list[Segment], places: np.ndarray, names: list[str], colours: list[str], end: float
) -> None:
    """Draw the segments of a face above its strip, with their labels if there is room."""
    for segment in segments:
        index = int(places[segment.label])
        axes.broken_barh([(segment.start, segment.seconds)], (1.06, 0.26), color=colours[index], linewidth=0)
        if segment.seconds > 0.011 * end * len(names[index]):
            style = {"ha": "center", "va": "center", "fontsize": 8, "color": ink(colours[index]), "weight": "bold"}
            axes.text((segment.start + segment.end) / 2, 1.185, names[index], parse_math=False, **style)


def _draw_stills(axes: Any, stills: list[Still]) -> None:
    """Draw pictures of a face at their times, above its strip."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    for still in stills:
        picture = OffsetImage(still.picture, zoom=72 / 110)
        axes.add_artist(AnnotationBbox(picture, (still.seconds, 1.68), frameon=False, pad=0, annotation_clip=False))
