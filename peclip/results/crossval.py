"""The results of all folds together: mean, spread and intervals, as json, markdown, table and picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from peclip.errors import InputError
from peclip.files import atomic_write, write_json, write_text
from peclip.results.bootstrap import DRAWS, LEVEL, Outcomes, interval, resample
from peclip.results.evaluation import Evaluation
from peclip.results.figures import draw_confusion, write_confusion
from peclip.results.scores import Scores, scores
from peclip.results.tables import duration, markdown_table, percent, percent_interval, print_table

RESULTS = "results.json"

SEED = 0

Summary = dict[str, Any]
"""The content of results.json: ``war``, ``uar`` and ``per_class_recall`` with ``mean``, ``std`` and ``interval`` over the
folds; ``folds``, the same of each; ``pooled``, the same of all clips as one test set, with its confusion matrix."""


def summarise(results: Mapping[int, Evaluation], name: str) -> Summary:
    """Bring the folds together.

    Means are over the folds, a class counting in those where it occurs. The spread is the standard deviation over the
    folds, divided by their number less one. Intervals are of the bootstrap over the clips of each fold: they tell how
    much depends on the clips, not how much on the seed of the training.

    Args:
        results: by fold, two or more.
        name: of the run.

    Raises:
        InputError: the folds have different classes.
    """
    folds = list(results.values())
    labels = folds[0].labels
    if other := next((fold for fold in folds if fold.labels != labels), None):
        raise InputError(f"{other.folder} has the classes {', '.join(other.labels)}, other folds {', '.join(labels)}")
    found = [fold.scores for fold in folds]
    parts = [Outcomes(fold.truth, (fold.truth == fold.predicted)[np.newaxis]) for fold in folds]
    drawn = resample(parts, len(labels), seed=SEED)
    metrics = folds[0].metrics
    return {
        "name": name,
        "benchmark": metrics.get("benchmark"),
        "selection": metrics["selection"],
        "clips": sum(fold.clips for fold in found),
        "skipped": sum(fold.skipped for fold in folds),
        "war": _spread([fold.war for fold in found], drawn.war),
        "uar": _spread([fold.uar for fold in found], drawn.uar),
        "per_class_recall": {
            label: _spread([fold.per_class_recall[label] for fold in found], drawn.recalls[..., index])
            for index, label in enumerate(labels)
        },
        "pooled": _pooled(scores(np.sum([fold.confusion for fold in found], axis=0), labels), parts),
        "folds": [_fold(number, fold) for number, fold in results.items()],
        "trainable": metrics["trainable"],
        "parameters": metrics["parameters"],
        "bootstrap": {"draws": DRAWS, "level": LEVEL, "seed": SEED},
    }


def _pooled(whole: Scores, parts: Sequence[Outcomes]) -> dict[str, Any]:
    """Return the scores of all clips as one test set."""
    clips = Outcomes(*(np.concatenate(arrays, axis=-1) for arrays in zip(*parts, strict=True)))
    drawn = resample([clips], len(whole.per_class_recall), seed=SEED)
    recalls = {
        label: {"value": recall, "interval": interval(drawn.recalls[:, 0, index])}
        for index, (label, recall) in enumerate(whole.per_class_recall.items())
    }
    return {
        "war": {"value": whole.war, "interval": interval(drawn.war[:, 0])},
        "uar": {"value": whole.uar, "interval": interval(drawn.uar[:, 0])},
        "per_class_recall": recalls,
        "confusion": whole.confusion.tolist(),
    }


def _fold(number: int, fold: Evaluation) -> dict[str, Any]:
    """Return what stands in ``folds`` of one."""
    found = fold.scores
    return {
        "fold": number,
        "run": fold.folder.name,
        "clips": found.clips,
        "skipped": fold.skipped,
        "war": found.war,
        "uar": found.uar,
        "per_class_recall": found.per_class_recall,
        "seconds": fold.seconds,
    }


def write_summary(folder: Path, summary: Summary) -> None:
    """Write ``results.md`` with its two pictures, ``confusion.csv`` and at last ``results.json``."""
    pooled, labels = summary["pooled"], list(summary["per_class_recall"])
    confusion = np.array(pooled["confusion"])
    write_text(folder / "results.md", as_markdown(summary))
    title = f"{_title(summary)}\nWAR {_mean_and_std(summary['war'])}, UAR {_mean_and_std(summary['uar'])}"
    if summary["selection"] == "test":
        title += "\ncheckpoints chosen on the test clips: optimistic"
    with atomic_write(folder / "results.png") as path:
        draw_results(path, summary, title)
    write_confusion(folder / "confusion.csv", confusion, labels)
    with atomic_write(folder / "confusion.png") as path:
        draw_confusion(path, confusion, labels, title)
    write_json(folder / RESULTS, summary)


def draw_results(path: Path, summary: Summary, title: str) -> None:
    """Draw WAR, UAR and the recall of each class: the mean with its interval, and each fold as a dot."""
    from matplotlib.figure import Figure

    names = ["WAR", "UAR", *summary["per_class_recall"]]
    means = [summary["war"], summary["uar"], *summary["per_class_recall"].values()]
    figure = Figure(figsize=(6.5, 1.6 + 0.35 * len(names)), layout="constrained")
    axes = figure.subplots()
    for row, entry in enumerate(means):
        if entry["mean"] is not None:
            low, high = entry["interval"]
            axes.barh(row, 100 * (high - low), left=100 * low, height=0.25, color="tab:blue", alpha=0.35)
            axes.plot(100 * entry["mean"], row, "|", color="tab:blue", markersize=14, markeredgewidth=2.5)
    for fold in summary["folds"]:
        values = [fold["war"], fold["uar"], *fold["per_class_recall"].values()]
        places = [(100 * value, row) for row, value in enumerate(values) if value is not None]
        axes.plot(*zip(*places, strict=True), "o", color="black", markersize=3, alpha=0.6)
    axes.axhline(1.5, color="grey", linewidth=0.6)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(-2, 102)
    axes.set(xlabel=f"percent; line: mean, bar: {LEVEL:.0%} interval, dots: folds", title=title)
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=120)


def as_markdown(summary: Summary) -> str:
    """Return the summary as a page of markdown."""
    labels = list(summary["per_class_recall"])
    counts = summary["pooled"]["confusion"]
    matrix = [[f"**{label}**", *map(str, row)] for label, row in zip(labels, counts, strict=True)]
    result = (
        f"WAR **{_mean_and_std(summary['war'])}**, UAR **{_mean_and_std(summary['uar'])}**: mean and standard deviation "
        f"over the folds. {SELECTION[summary['selection']]}{_skipped(summary)}"
    )
    explained = (
        f"The intervals are {LEVEL:.0%} percentile intervals of {summary['bootstrap']['draws']:,} bootstrap draws of the "
        "test clips, those of the mean draw within each fold. They do not tell how much depends on the seed of the "
        "training. *Pooled* takes the clips of all folds as one test set."
    )
    return "\n\n".join(
        [
            f"# {_title(summary)}",
            result,
            markdown_table(*_results(summary)),
            explained,
            "![Mean, interval and folds](results.png)",
            "## Folds",
            markdown_table(*_folds(summary)),
            "## Pooled confusion matrix",
            "Clips; truth in rows, predictions in columns.",
            markdown_table(["", *labels], matrix),
            "![Pooled confusion matrix](confusion.png)",
            f"{summary['trainable']:,} of {summary['parameters']:,} parameters are trained.\n",
        ]
    )


def print_summary(summary: Summary) -> None:
    """Print the tables of the summary, and how the checkpoints were chosen."""
    for title, (header, rows) in ((_title(summary), _results(summary)), ("Folds", _folds(summary))):
        print_table(title, header, rows, end_section="UAR")
    print(SELECTION[summary["selection"]].replace("*", "") + _skipped(summary))


SELECTION = {
    "validation": "The checkpoint of each fold was chosen on validation clips; its test clips were read once.",
    "test": "**The checkpoint of each fold was chosen on its test clips (val: test): these results are optimistic.**",
    "none": "There were no validation clips: the last checkpoint of each fold was kept.",
}


def _spread(values: Sequence[float | None], drawn: np.ndarray) -> dict[str, Any]:
    """Return mean, standard deviation and interval over the folds where there is a value."""
    known = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "std": float(np.std(known, ddof=1)) if len(known) > 1 else None,
        "interval": interval(drawn[:, 0]),
    }


def _results(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Return the header and a row for WAR, UAR and each class: mean, spread and interval, and the same pooled."""
    pooled, level = summary["pooled"], f"{LEVEL:.0%} interval"
    entries = [(name.upper(), summary[name], pooled[name]) for name in ("war", "uar")]
    for label, entry in summary["per_class_recall"].items():
        entries.append((f"recall {label}", entry, pooled["per_class_recall"][label]))
    rows = []
    for name, entry, whole in entries:
        spread = "" if entry["std"] is None else percent(entry["std"])
        over_folds = [percent(entry["mean"]), spread, percent_interval(entry["interval"])]
        rows.append([name, *over_folds, percent(whole["value"]), percent_interval(whole["interval"])])
    return ["", "mean", "std", level, "pooled", level], rows


def _folds(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Return the header and a row for each fold: clips, WAR, UAR and the time of the training."""
    rows = [
        [f"{fold['fold']}", f"{fold['clips']:,}", percent(fold["war"]), percent(fold["uar"]), duration(fold["seconds"])]
        for fold in summary["folds"]
    ]
    times = [fold["seconds"] for fold in summary["folds"]]
    rows.append(["all", f"{summary['clips']:,}", "", "", duration(None if None in times else sum(times))])
    return ["fold", "test clips", "WAR", "UAR", "training time"], rows


def _skipped(summary: Summary) -> str:
    """Return a sentence about test clips that could not be read, where there were some."""
    count = summary["skipped"]
    return f" {count:,} test clips could not be read and were skipped: see skipped.csv of the folds." if count else ""


def _title(summary: Summary) -> str:
    return f"Cross-validation {summary['name']}: {len(summary['folds'])} folds, {summary['clips']:,} test clips"


def _mean_and_std(entry: Mapping[str, Any]) -> str:
    return f"{entry['mean']:.2%} ± {entry['std']:.2%}"
