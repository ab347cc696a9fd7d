"""The results of all folds together: mean, spread and intervals, as json, markdown, table and picture."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from peclip.errors import InputError, listed
from peclip.files import write_json, write_text
from peclip.labels import MOST_CLASSES
from peclip.results.bootstrap import LEVEL, Bootstrap, Estimate, Outcomes, Spread, interval, resample
from peclip.results.evaluation import Evaluation
from peclip.results.figures import draw_confusion, draw_rates, write_confusion
from peclip.results.folds import CrossValidationSummary, Fold, Pooled
from peclip.results.formatting import (
    Rows,
    class_rows,
    duration,
    markdown_table,
    percent,
    percent_interval,
    print_table,
    total,
)
from peclip.results.records import from_json, read_json
from peclip.results.scores import scores
from peclip.results.selection import is_optimistic
from peclip.terminal import say

RESULTS = "results.json"


def summarise(results: Mapping[int, Evaluation], name: str) -> CrossValidationSummary:
    """Summarise the folds of a cross-validation.

    Means are over the folds, a class counting in those where it occurs. The spread is the standard deviation over the
    folds, divided by their number less one. Intervals are of the bootstrap over the clips of each fold: they show how
    much depends on the clips, not how much on the seed of the training.

    Args:
        results: evaluations of two or more folds, by fold.
        name: name of the run.

    Raises:
        InputError: the folds have different classes.
    """
    folds = list(results.values())
    labels = folds[0].labels
    if other := next((fold for fold in folds if fold.labels != labels), None):
        raise InputError(f"{other.folder} has the classes {listed(other.labels)}, other folds {listed(labels)}")
    found = [fold.scores for fold in folds]
    tests = [Outcomes(fold.truth, (fold.truth == fold.predicted)[np.newaxis]) for fold in folds]
    drawn = resample(tests, len(labels))
    metrics = folds[0].metrics
    return CrossValidationSummary(
        name=name,
        benchmark=metrics.benchmark,
        selection=metrics.selection,
        clips=sum(fold.clips for fold in found),
        skipped=sum(fold.metrics.skipped for fold in folds),
        war=_spread([fold.war for fold in found], drawn.war),
        uar=_spread([fold.uar for fold in found], drawn.uar),
        per_class_recall={
            label: _spread([fold.per_class_recall[label] for fold in found], drawn.recalls[..., index])
            for index, label in enumerate(labels)
        },
        pooled=_pooled(np.sum([fold.confusion for fold in folds], axis=0), labels, tests),
        folds=tuple(_fold(number, fold) for number, fold in results.items()),
        trainable=metrics.trainable,
        parameters=metrics.parameters,
        bootstrap=Bootstrap(),
        flops=metrics.flops,
        method=metrics.method,
    )


def write_summary(folder: Path, summary: CrossValidationSummary) -> None:
    """Write ``results.md``, ``confusion.csv``, ``results.json`` and at last the two pictures of ``results.md``."""
    confusion, labels = np.array(summary.pooled.confusion), list(summary.per_class_recall)
    write_text(folder / "results.md", as_markdown(summary))
    title = f"{summary.title}\nWAR {_mean_and_std(summary.war)}, UAR {_mean_and_std(summary.uar)}"
    if is_optimistic(summary.selection, "test"):
        title += "\noptimistic (val: test)"
    write_confusion(folder / "confusion.csv", confusion, labels)
    write_json(folder / RESULTS, asdict(summary))
    rates = [[fold.war, fold.uar, *fold.per_class_recall.values()] for fold in summary.folds]
    draw_rates(folder / "results.png", summary.means, rates, title)
    draw_confusion(folder / "confusion.png", confusion, labels, title)


def read_summary(folder: Path) -> CrossValidationSummary:
    """Read ``results.json`` of a cross-validation.

    Raises:
        InputError: it is missing, damaged, or not what peclip writes.
    """
    content = read_json(folder / RESULTS)
    if content is None:
        raise InputError(
            f"{folder} has no {RESULTS}, so no finished cross-validation: run its peclip cv again to resume"
        )
    return from_json(CrossValidationSummary, content, str(folder / RESULTS))


def as_markdown(summary: CrossValidationSummary) -> str:
    """Return the summary as a page of markdown."""
    result = (
        f"WAR **{_mean_and_std(summary.war)}**, UAR **{_mean_and_std(summary.uar)}**: mean and standard deviation "
        f"over the folds. {summary.note}"
    )
    explained = (
        f"The intervals are {summary.bootstrap.level:.0%} percentile intervals of {summary.bootstrap.draws:,} bootstrap "
        "draws of the test clips, those of the mean draw within each fold. They do not show how much depends on the seed "
        "of the training. *Pooled* takes the clips of all folds as one test set."
    )
    return "\n\n".join(
        [
            f"# {summary.title}",
            result,
            markdown_table(_results(summary)),
            explained,
            "![Mean, interval and folds](results.png)",
            "## Folds",
            markdown_table(_folds(summary)),
            "## Pooled confusion matrix",
            "Clips; truth in rows, predictions in columns.",
            _matrix(summary),
            "![Pooled confusion matrix](confusion.png)",
            f"{summary.trainable:,} of {summary.parameters:,} parameters are trained{f' ({summary.method})' if summary.method else ''}.\n",
        ]
    )


def print_summary(summary: CrossValidationSummary) -> None:
    """Print the tables of the summary, and how the checkpoints were chosen."""
    print_table(summary.title, _results(summary, RESULTS))
    print_table("Folds", _folds(summary))
    say(summary.note)


def _spread(values: Sequence[float | None], drawn: np.ndarray) -> Spread:
    """Return mean, standard deviation and interval over the folds where there is a value."""
    known = [value for value in values if value is not None]
    mean = float(np.mean(known)) if known else None
    return Spread(mean, float(np.std(known, ddof=1)) if len(known) > 1 else None, interval(drawn[:, 0]))


def _pooled(confusion: np.ndarray, labels: Sequence[str], tests: Sequence[Outcomes]) -> Pooled:
    """Return the scores of all clips as one test set."""
    whole = scores(confusion, labels)
    clips = Outcomes(*(np.concatenate(arrays, axis=-1) for arrays in zip(*tests, strict=True)))
    drawn = resample([clips], len(labels))
    recalls = {
        label: Estimate(recall, interval(drawn.recalls[:, 0, index]))
        for index, (label, recall) in enumerate(whole.per_class_recall.items())
    }
    war, uar = Estimate(whole.war, interval(drawn.war[:, 0])), Estimate(whole.uar, interval(drawn.uar[:, 0]))
    return Pooled(war, uar, recalls, tuple(map(tuple, confusion.tolist())))


def _fold(number: int, fold: Evaluation) -> Fold:
    found, metrics = fold.scores, fold.metrics
    return Fold(
        fold=number,
        run=fold.folder.name,
        clips=found.clips,
        skipped=metrics.skipped,
        war=found.war,
        uar=found.uar,
        per_class_recall=found.per_class_recall,
        seconds=fold.seconds,
        remarks=tuple(metrics.remarks),
    )


def _matrix(summary: CrossValidationSummary) -> str:
    """Return the confusion matrix in markdown, or of many classes the name of the file that has it."""
    labels = list(summary.per_class_recall)
    if len(labels) > MOST_CLASSES:
        return f"That of {len(labels):,} classes is in confusion.csv."
    matrix = [[f"**{label}**", *map(str, row)] for label, row in zip(labels, summary.pooled.confusion, strict=True)]
    return markdown_table((["", *labels], matrix))


def _results(summary: CrossValidationSummary, file: str | None = None) -> Rows:
    """Return a row for WAR, UAR and each class: mean, spread and interval, and the same pooled.

    ``file`` is as for :func:`peclip.results.formatting.class_rows`.
    """
    pooled, level = summary.pooled, f"{LEVEL:.0%} interval"
    rows = []
    whole = [pooled.war, pooled.uar, *pooled.per_class_recall.values()]
    for (name, spread), estimate in zip(summary.means.items(), whole, strict=True):
        std = "" if spread.std is None else percent(spread.std)
        over_folds = [percent(spread.mean), std, percent_interval(spread.interval)]
        rows.append([name, *over_folds, percent(estimate.value), percent_interval(estimate.interval)])
    return ["", "mean", "std", level, "pooled", level], [*rows[:2], *class_rows(rows[2:], file)]


def _folds(summary: CrossValidationSummary) -> Rows:
    """Return a row for each fold: clips, WAR, UAR and the duration of the training."""
    rows = [
        [f"{fold.fold}", f"{fold.clips:,}", percent(fold.war), percent(fold.uar), duration(fold.seconds)]
        for fold in summary.folds
    ]
    rows.append(["all", f"{summary.clips:,}", "", "", duration(total([fold.seconds for fold in summary.folds]))])
    return ["fold", "test clips", "WAR", "UAR", "training time"], rows


def _mean_and_std(spread: Spread) -> str:
    return f"{spread.mean:.2%} ± {spread.std:.2%}"
