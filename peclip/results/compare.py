"""``peclip compare``: runs of one test set side by side, and how sure the differences between them are."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from peclip.errors import counted
from peclip.files import write_json, write_text
from peclip.results.bootstrap import (
    LEVEL,
    Bootstrap,
    Estimate,
    Interval,
    Outcomes,
    Rates,
    interval,
    observed,
    p_value,
    resample,
)
from peclip.results.entries import Entry, read_entries
from peclip.results.formatting import (
    Rows,
    class_rows,
    duration,
    markdown_table,
    percent,
    percent_interval,
    points,
    print_table,
    total,
)
from peclip.results.mcnemar import MEANING, McNemar, mcnemar
from peclip.results.scores import by_label
from peclip.results.selection import EvaluatedSplit, Selection, optimism_notes
from peclip.terminal import say

DIGITS = 12
"""Digits after the point to which differences of rates are exact."""

NOTE = (
    "Brackets hold {level:.0%} intervals. Differences are to the first run, in percentage points: the same {split} clips are "
    "drawn for both (N = {draws:,} bootstrap draws), and p is 2 (r + 1) / (N + 1), where r is the number of draws in which the "
    "difference has the other sign or none, so that it is at least {least:.4f}: below 0.05 it says that the sign hardly depends "
    "on the choice of {split} clips. None of it shows how much depends on the seed of the training; several comparisons at once "
    "find differences by chance more often than p says."
)


@dataclass(frozen=True)
class Compared:
    """The scores of a run or a cross-validation.

    Attributes:
        run: name of the run.
        split: split that was evaluated.
        selection: clips on which its checkpoint was chosen.
        war: weighted average recall.
        uar: unweighted average recall.
        per_class_recall: recall by label; None for a class without a clip.
        skipped: further clips that could not be read.
        trainable: number of trained parameters.
        parameters: number of all parameters.
        seconds: duration of the training; None if it is unknown.
        devices: names of the devices on which it was trained.
        method: name of the parts that were trained; None if it is not known.
        remarks: sentences on what is special about its evaluation, see :attr:`peclip.results.evaluation.Metrics.remarks`.
    """

    run: str
    split: EvaluatedSplit
    selection: Selection
    war: Estimate
    uar: Estimate
    per_class_recall: dict[str, float | None]
    skipped: int
    trainable: int
    parameters: int
    seconds: float | None
    devices: str
    method: str | None
    remarks: tuple[str, ...]

    @property
    def notes(self) -> list[str]:
        """Notes that readers of its scores need."""
        notes = [f"{self.run}: {remark}." for remark in self.remarks]
        if self.skipped:
            count = counted(self.skipped, "clip")
            notes.append(f"{self.run}: skipped {count} of the test set that could not be read, see skipped.csv.")
        return [*notes, *optimism_notes(self.selection, self.split, of=self.run)]


@dataclass(frozen=True)
class RateChange:
    """A difference of a rate, with its interval and the two-sided p of no difference."""

    difference: float
    interval: Interval | None
    p: float


@dataclass(frozen=True)
class Difference:
    """The differences of ``run`` to the run ``to``; McNemar's test counts the clips of all folds."""

    run: str
    to: str
    war: RateChange
    uar: RateChange
    mcnemar: McNemar


@dataclass(frozen=True)
class Comparison:
    """Runs side by side: the content of comparison.json.

    Attributes:
        clips: number of test clips, over all folds.
        folds: numbers of the folds that were tested; empty for single runs.
        runs: scores of each run.
        differences: differences of each further run to the first.
        bootstrap: settings with which the intervals were computed.
    """

    clips: int
    folds: tuple[int, ...]
    runs: tuple[Compared, ...]
    differences: tuple[Difference, ...]
    bootstrap: Bootstrap

    @property
    def notes(self) -> list[str]:
        """Notes that readers of the tables need."""
        least = p_value(np.ones(self.bootstrap.draws))
        note = NOTE.format(**asdict(self.bootstrap), split=self.runs[0].split, least=least)
        return [note, MEANING, *(note for run in self.runs for note in run.notes)]


def compare(runs: list[str], out: str | None = None) -> None:
    """Compare runs side by side: WAR, UAR, recalls, differences to the first with paired tests, parameters and time.

    Args:
        runs: Folders of two or more runs that were tested on the same clips, or of finished cross-validations.
        out: Folder to write comparison.md and comparison.json into; by default nothing is written.

    Raises:
        InputError: there is no run in a folder, or the runs have other test clips or labels.
    """
    comparison = compare_entries(read_entries(runs))
    for title, table in _tables(comparison, "--out writes them").items():
        print_table(title, table)
    say(*comparison.notes)
    if out:
        write_text(Path(out) / "comparison.md", as_markdown(comparison))
        write_json(Path(out) / "comparison.json", asdict(comparison))
        say(f"The comparison is in {out}")


def as_markdown(comparison: Comparison) -> str:
    """Return the comparison as a page of markdown."""
    page = ["# Comparison"]
    for title, table in _tables(comparison).items():
        page += [f"## {title}", markdown_table(table)]
    return "\n\n".join([*page, *comparison.notes]) + "\n"


def compare_entries(entries: Sequence[Entry]) -> Comparison:
    """Compare entries on the same test clips, in the order of their paths: the scores of each, and differences to the first."""
    labels = entries[0].first.labels
    tests = []
    for fold, first in entries[0].tests.items():
        own = [entry.tests[fold] for entry in entries]
        tests.append(Outcomes(first.truth, np.stack([test.truth == test.predicted for test in own])))
    seen, drawn = observed(tests, len(labels)), resample(tests, len(labels))
    differences = []
    for index, entry in enumerate(entries[1:], start=1):
        war, uar = _change(seen.war, drawn.war, index), _change(seen.uar, drawn.uar, index)
        pairs = np.concatenate([test.hits[[0, index]] for test in tests], axis=1)
        differences.append(Difference(entry.name, entries[0].name, war, uar, mcnemar(*pairs)))
    return Comparison(
        clips=sum(len(test.truth) for test in tests),
        folds=tuple(fold for fold in entries[0].tests if fold is not None),
        runs=tuple(_compared(entry, index, seen, drawn, labels) for index, entry in enumerate(entries)),
        differences=tuple(differences),
        bootstrap=Bootstrap(),
    )


def _change(seen: np.ndarray, drawn: np.ndarray, index: int) -> RateChange:
    """Return the change of a rate ``(N, R)`` from the first run to another.

    Of equal rates it is 0: means over folds and classes differ by rounding where their clips come in another order.
    """
    observed, by_draw = ((rates[:, index] - rates[:, 0]).round(DIGITS) + 0.0 for rates in (seen, drawn))
    return RateChange(float(observed[0]), interval(by_draw), p_value(by_draw))


def _compared(entry: Entry, index: int, seen: Rates, drawn: Rates, labels: Sequence[str]) -> Compared:
    """Return the scores of an entry, which is number ``index`` of the rates."""
    metrics = entry.first.metrics
    return Compared(
        run=entry.name,
        split=metrics.split,
        selection=metrics.selection,
        war=Estimate(float(seen.war[0, index]), interval(drawn.war[:, index])),
        uar=Estimate(float(seen.uar[0, index]), interval(drawn.uar[:, index])),
        per_class_recall=by_label(seen.recalls[0, index], labels),
        skipped=sum(test.metrics.skipped for test in entry.tests.values()),
        trainable=metrics.trainable,
        parameters=metrics.parameters,
        seconds=total([test.seconds for test in entry.tests.values()]),
        devices=entry.devices,
        method=metrics.method,
        remarks=tuple(dict.fromkeys(remark for test in entry.tests.values() for remark in test.metrics.remarks)),
    )


def _tables(comparison: Comparison, file: str | None = None) -> dict[str, Rows]:
    """Return tables by their titles; ``file`` as for :func:`peclip.results.formatting.class_rows`."""
    runs = comparison.runs
    names = [run.run for run in runs]
    folds = f", mean of {counted(len(comparison.folds), 'fold')}" if comparison.folds else ""
    scores = [
        ["WAR", *(f"{percent(run.war.value)} {percent_interval(run.war.interval)}" for run in runs)],
        ["UAR", *(f"{percent(run.uar.value)} {percent_interval(run.uar.interval)}" for run in runs)],
    ]
    recalls = [
        [f"recall {label}", *(percent(run.per_class_recall[label]) for run in runs)]
        for label in runs[0].per_class_recall
    ]
    scores += class_rows(recalls, file)
    scores += [
        ["method", *(run.method or "unknown" for run in runs)],
        ["trained parameters", *(f"{run.trainable:,}" for run in runs)],
        ["all parameters", *(f"{run.parameters:,}" for run in runs)],
        ["training time", *(duration(run.seconds) for run in runs)],
        ["trained on", *(run.devices or "unknown" for run in runs)],
    ]
    changes = [
        [each.run, name, points(change.difference), points(*change.interval or ()), f"{change.p:.4f}"]
        for each in comparison.differences
        for name, change in (("WAR", each.war), ("UAR", each.uar))
    ]
    alone = [
        [each.run, f"{each.mcnemar.first_only:,}", f"{each.mcnemar.other_only:,}", p_text(each.mcnemar.p)]
        for each in comparison.differences
    ]
    return {
        f"Results on {counted(comparison.clips, f'{runs[0].split} clip')}{folds}": (["", *names], scores),
        f"Differences to {names[0]}": (["run", "", "difference", f"{LEVEL:.0%} interval", "p"], changes),
        "Clips that only one of the two got right": (["run", "the first run", "this run", "McNemar's p"], alone),
    }


def p_text(p: float) -> str:
    """Return a p value as tables show it: exact ones can be very small."""
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"
