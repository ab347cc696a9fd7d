"""Figures of results: confusion matrices as csv and pictures, and rates over folds."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from peclip.files import atomic_write
from peclip.results.bootstrap import LEVEL, Spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_confusion(target: Path, confusion: np.ndarray, labels: Sequence[str]) -> None:
    """Write a matrix (C, C) of counts with truth in rows as csv."""
    with atomic_write(target) as path, path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["truth", *labels])
        rows.writerows([label, *row] for label, row in zip(labels, confusion, strict=True))


def draw_confusion(target: Path, confusion: np.ndarray, labels: Sequence[str], title: str) -> None:
    """Draw a confusion matrix (C, C) with truth in rows as percentages of its row, and the counts below them."""
    rows = confusion.sum(axis=1, keepdims=True)
    share = np.divide(confusion, rows, out=np.zeros(confusion.shape), where=rows > 0)
    size = 1.6 + 0.85 * len(labels)
    figure = _figure(size + 0.6, size)
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(share):
        colour = "white" if value > 0.55 else "black"
        text = f"{value:.0%}\n{confusion[row, column]}"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="predicted", ylabel="truth", title=title)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the class")
    _save(figure, target)


def draw_rates(target: Path, means: Mapping[str, Spread], folds: Sequence[Sequence[float | None]], title: str) -> None:
    """Draw a row for each rate: its mean over the folds with the interval, and each fold as a dot.

    Args:
        target: the picture.
        means: by name of the rate.
        folds: of each fold its value of every rate, in the order of ``means``; None for a class without clips.
        title: of the picture.
    """
    figure = _figure(6.5, 1.6 + 0.35 * len(means))
    axes = figure.subplots()
    for row, spread in enumerate(means.values()):
        if spread.mean is not None and spread.interval is not None:
            low, high = spread.interval
            axes.barh(row, 100 * (high - low), left=100 * low, height=0.25, color="tab:blue", alpha=0.35)
            axes.plot(100 * spread.mean, row, "|", color="tab:blue", markersize=14, markeredgewidth=2.5)
    for fold in folds:
        points = [(100 * value, row) for row, value in enumerate(fold) if value is not None]
        axes.plot(*zip(*points, strict=True), "o", color="black", markersize=3, alpha=0.6)
    axes.axhline(1.5, color="grey", linewidth=0.6)
    axes.set_yticks(range(len(means)), list(means))
    axes.invert_yaxis()
    axes.set_xlim(-2, 102)
    axes.set(xlabel=f"percent; line: mean, bar: {LEVEL:.0%} interval, dots: folds", title=title)
    axes.grid(axis="x", alpha=0.3)
    _save(figure, target)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: "Figure", target: Path) -> None:
    with atomic_write(target) as path:
        figure.savefig(path, dpi=120)
