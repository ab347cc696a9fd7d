"""What an evaluation leaves behind: a table on the screen, metrics.json, confusion.csv and a picture of it."""

import csv
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from peclip.train.metrics import Scores, recalls


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to, and move it to ``path`` when that went well: never a half-written file."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def as_json(scores: Scores) -> dict[str, Any]:
    """Return the scores as they stand in ``metrics.json``; rates are fractions."""
    return {
        "clips": scores.clips,
        "war": scores.war,
        "uar": scores.uar,
        "per_class_recall": scores.per_class_recall,
    }


def write_report(folder: Path, scores: Scores, head: dict[str, Any], zero_shot: Scores | None) -> None:
    """Write ``confusion.csv``, ``confusion.png`` and at last ``metrics.json`` into a run's folder.

    Args:
        folder: of the run.
        scores: of the evaluation.
        head: entries of ``metrics.json`` that come first, such as the split.
        zero_shot: scores of bare CLIP, where they were asked for.
    """
    content = {**head, **as_json(scores)}
    if zero_shot:
        content["zero_shot"] = as_json(zero_shot)
    labels = list(scores.per_class_recall)
    write_confusion(folder / "confusion.csv", scores.confusion, labels)
    with written(folder / "confusion.png") as path:
        draw_confusion(
            path, scores.confusion, labels, f"WAR {scores.war:.1%}, UAR {scores.uar:.1%}, {scores.clips} clips"
        )
    with written(folder / "metrics.json") as path:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_confusion(target: Path, confusion: np.ndarray, labels: Sequence[str]) -> None:
    """Write a matrix (C, C) of counts with truth in rows as csv."""
    with written(target) as path, path.open("w", newline="", encoding="utf-8") as file:
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


def print_scores(scores: Scores, split: str, zero_shot: Scores | None) -> None:
    """Print WAR, UAR and the recall of every class, beside those of bare CLIP where they were asked for."""
    console = Console()
    table = Table(title=f"Results on {scores.clips} {split} clips", title_justify="left")
    table.add_column("")
    table.add_column("PE-CLIP", justify="right")
    columns = [scores]
    if zero_shot:
        table.add_column("zero-shot CLIP", justify="right")
        columns.append(zero_shot)
    table.add_row("WAR", *(f"[bold]{entry.war:.2%}" for entry in columns))
    table.add_row("UAR", *(f"[bold]{entry.uar:.2%}" for entry in columns), end_section=True)
    by_class = [recalls(entry.confusion) for entry in columns]
    for index, label in enumerate(scores.per_class_recall):
        values = (column[index] for column in by_class)
        table.add_row(f"recall {label}", *("no clip" if np.isnan(value) else f"{value:.2%}" for value in values))
    console.print(table)
