"""Figures of results: confusion matrices as csv and pictures, rates over folds, and the worst mistakes with their frames."""

import csv
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from peclip.files import atomic_write
from peclip.labels import MOST_CLASSES, column
from peclip.results.bootstrap import LEVEL, Spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure


LONGEST = 30
"""Characters of a label in a picture."""

MOST_MISTAKES = 12
"""Mistakes that are kept."""


def write_confusion(target: Path, confusion: np.ndarray, labels: Sequence[str]) -> None:
    """Write a matrix (C, C) of counts with truth in rows as csv."""
    with atomic_write(target) as path, path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["truth", *map(column, labels)])
        rows.writerows([label, *row] for label, row in zip(labels, confusion, strict=True))


def draw_confusion(target: Path, confusion: np.ndarray, labels: Sequence[str], title: str) -> None:
    """Draw a confusion matrix (C, C) with truth in rows as percentages of its row, and the counts below them.

    More than :data:`MOST_CLASSES` classes are drawn as colours alone, in a picture of a fixed size.
    """
    rows = confusion.sum(axis=1, keepdims=True)
    share = np.divide(confusion, rows, out=np.zeros(confusion.shape), where=rows > 0)
    is_read = len(labels) <= MOST_CLASSES
    size = 1.6 + 0.85 * (len(labels) if is_read else 10)
    figure = new_figure(size + 0.6, size)
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_title(title, parse_math=False)
    axes.set(xlabel="predicted", ylabel="truth")
    if is_read:
        for (true, predicted), value in np.ndenumerate(share):
            colour = "white" if value > 0.55 else "black"
            text = f"{value:.0%}\n{confusion[true, predicted]}"
            axes.text(predicted, true, text, ha="center", va="center", color=colour, fontsize=8)
        names = [shortened(label) for label in labels]
        axes.set_xticks(range(len(labels)), names, rotation=45, ha="right", parse_math=False)
        axes.set_yticks(range(len(labels)), names, parse_math=False)
    else:
        axes.set(xlabel="predicted: place in confusion.csv", ylabel="truth: place in confusion.csv")
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the class")
    save(figure, target)


def draw_rates(target: Path, means: Mapping[str, Spread], folds: Sequence[Sequence[float | None]], title: str) -> None:
    """Draw a row for each rate: its mean over the folds with the interval, and each fold as a dot.

    Of more than :data:`MOST_CLASSES` classes only WAR and UAR, the first two rates, are drawn.

    Args:
        target: path of the picture.
        means: mean and interval of each rate, by its name.
        folds: value of every rate in each fold, in the order of ``means``; None for a class without clips.
        title: title of the picture.
    """
    shown = dict(islice(means.items(), None if len(means) <= 2 + MOST_CLASSES else 2))
    figure = new_figure(6.5, 1.6 + 0.35 * len(shown))
    axes = figure.subplots()
    for row, spread in enumerate(shown.values()):
        if spread.mean is not None and spread.interval is not None:
            low, high = spread.interval
            axes.barh(row, 100 * (high - low), left=100 * low, height=0.25, color="tab:blue", alpha=0.35)
            axes.plot(100 * spread.mean, row, "|", color="tab:blue", markersize=14, markeredgewidth=2.5)
    for fold in folds:
        points = [(100 * value, row) for row, value in enumerate(fold[: len(shown)]) if value is not None]
        axes.plot(*zip(*points, strict=True), "o", color="black", markersize=3, alpha=0.6)
    axes.axhline(1.5, color="grey", linewidth=0.6)
    axes.set_yticks(range(len(shown)), [shortened(name) for name in shown], parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(-2, 102)
    axes.set_title(title, parse_math=False)
    axes.set_xlabel(f"percent; line: mean, bar: {LEVEL:.0%} interval, dots: folds")
    axes.grid(axis="x", alpha=0.3)
    save(figure, target)


def shortened(label: str) -> str:
    """Return a label as pictures show it."""
    return label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"


def save(figure: "Figure", target: Path, dpi: int = 120) -> None:
    """Write a figure as png, as a whole; names in scripts that its font lacks are drawn as boxes, without a warning."""
    with atomic_write(target) as path, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(path, dpi=dpi, format="png")


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of a size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


@dataclass(frozen=True, eq=False)
class Mistake:
    """A clip whose predicted class is not its own.

    Attributes:
        path: path of the clip.
        truth: the true class.
        predicted: the most probable class.
        probability: probability of the predicted class.
        probability_of_truth: probability of the true class.
        frames: some of its frames, uint8 (N, H, W, 3).
    """

    path: str
    truth: str
    predicted: str
    probability: float
    probability_of_truth: float
    frames: np.ndarray


def worst(mistakes: Sequence[Mistake]) -> list[Mistake]:
    """Return the mistakes with the highest probabilities, at most :data:`MOST_MISTAKES`; of equal ones in the order of their paths."""
    return sorted(mistakes, key=lambda mistake: (-mistake.probability, mistake.path))[:MOST_MISTAKES]


def draw_mistakes(target: Path, mistakes: Sequence[Mistake], title: str) -> None:
    """Draw a row of frames for each mistake, with its true and predicted class above."""
    rows = max(len(mistakes), 1)
    figure = new_figure(8, 0.7 + 1.35 * rows)
    figure.suptitle(title, parse_math=False)
    every = figure.subplots(rows, 1, squeeze=False)[:, 0]
    for axes in every:
        axes.set_axis_off()
    if not mistakes:
        every[0].text(0.5, 0.5, "no mistake", ha="center", va="center", transform=every[0].transAxes)
    for axes, mistake in zip(every, mistakes, strict=False):
        axes.imshow(np.concatenate([*mistake.frames], axis=1))
        truth = f"{shortened(mistake.truth)} ({mistake.probability_of_truth:.2f})"
        predicted = f"{shortened(mistake.predicted)} ({mistake.probability:.2f})"
        axes.set_title(f"{_name(mistake.path)}: {truth}, predicted {predicted}", fontsize=9, parse_math=False)
    save(figure, target)


def _name(path: str) -> str:
    """Return the end of a clip's path: in a folder for each class, files of several have the same name."""
    return "/".join(Path(path).parts[-2:])[-LONGEST:]
