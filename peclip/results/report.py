"""Report of an evaluation: a table on the screen, metrics.json, confusion.csv and a picture of it."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from peclip.files import atomic_write, write_json
from peclip.results.figures import draw_confusion, write_confusion
from peclip.results.scores import Scores, recalls


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
    with atomic_write(folder / "confusion.png") as path:
        draw_confusion(
            path, scores.confusion, labels, f"WAR {scores.war:.1%}, UAR {scores.uar:.1%}, {scores.clips} clips"
        )
    write_json(folder / "metrics.json", content)


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
