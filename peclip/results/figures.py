"""Figures of results: the confusion matrix as csv and as a picture."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from peclip.files import atomic_write


def write_confusion(target: Path, confusion: np.ndarray, labels: Sequence[str]) -> None:
    """Write a matrix (C, C) of counts with truth in rows as csv."""
    with atomic_write(target) as path, path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["truth", *labels])
        rows.writerows([label, *row] for label, row in zip(labels, confusion, strict=True))


def draw_confusion(path: Path, confusion: np.ndarray, labels: Sequence[str], title: str) -> None:
    """Draw a confusion matrix (C, C) with truth in rows as percentages of its row, and the counts below them."""
    from matplotlib.figure import Figure

    rows = confusion.sum(axis=1, keepdims=True)
    share = np.divide(confusion, rows, out=np.zeros(confusion.shape), where=rows > 0)
    size = 1.6 + 0.85 * len(labels)
    figure = Figure(figsize=(size + 0.6, size), layout="constrained")
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
    figure.savefig(path, dpi=120)
