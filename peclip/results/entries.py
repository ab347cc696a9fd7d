"""Runs and cross-validations read from their folders, to be compared on their common test clips."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from peclip.errors import InputError, listed
from peclip.results.crossval import RESULTS
from peclip.results.evaluation import PREDICTIONS, Evaluation, read_evaluation


@dataclass(frozen=True)
class Entry:
    """An entry of a comparison: a run, or a cross-validation with its folds.

    Attributes:
        name: folder as the user wrote it.
        tests: the evaluation of a run, or of each fold, by fold; a single run has the fold None.
    """

    name: str
    tests: dict[int | None, Evaluation]

    @property
    def first(self) -> Evaluation:
        """One of the evaluations: what they have in common, such as the labels."""
        return next(iter(self.tests.values()))

    @property
    def devices(self) -> str:
        """Devices on which the runs trained; empty if they did not train."""
        found = {(test.training.devices, test.training.device) for test in self.tests.values() if test.training}
        return ", ".join(sorted(f"{count} x {device}" if count > 1 else device for count, device in found))


def read_entries(runs: Sequence[str]) -> list[Entry]:
    """Read runs, or cross-validations, that were tested on the same clips; their clips come in one order.

    Raises:
        InputError: there are fewer than two, one cannot be read, or they have other test clips or labels.
    """
    if len(runs) < 2:
        raise InputError("peclip compare needs two or more runs")
    entries = [_read_entry(run) for run in runs]
    for entry in entries[1:]:
        _check_alike(entries[0], entry)
    return entries


def _read_entry(run: str) -> Entry:
    """Read a run or a cross-validation.

    Raises:
        InputError: it is neither, it is not finished, or a file is damaged.
    """
    folder = Path(run)
    folds = {int(path.name[5:]): path for path in folder.glob("fold_*") if path.name[5:].isdecimal()}
    if not folds:
        return Entry(run, {None: _in_order(read_evaluation(folder))})
    if not (folder / RESULTS).exists():
        raise InputError(f"{run} is a cross-validation that is not finished: run its peclip cv again to resume it")
    return Entry(run, {fold: _in_order(read_evaluation(folds[fold])) for fold in sorted(folds)})


def _in_order(test: Evaluation) -> Evaluation:
    """Return an evaluation with its clips in the order of their paths and seconds, since manifests may have another.

    Raises:
        InputError: a clip is listed twice, so runs cannot be aligned (files of peclip 0.1.0 lack start and end).
    """
    order = sorted(range(len(test.clips)), key=test.clips.__getitem__)
    clips = tuple(test.clips[index] for index in order)
    if twice := next((one for one, other in pairwise(clips) if one == other), None):
        raise InputError(
            f"{test.folder / PREDICTIONS} has {twice.path} more than once and does not say which piece of it a row is: "
            "evaluate again with peclip test"
        )
    return replace(test, clips=clips, truth=test.truth[order], predicted=test.predicted[order])


def _check_alike(first: Entry, other: Entry) -> None:
    """Check that two entries were tested on the same clips with the same labels.

    Raises:
        InputError: they were not.
    """
    kinds = [
        "a single run" if None in entry.tests else f"a cross-validation with folds {', '.join(map(str, entry.tests))}"
        for entry in (first, other)
    ]
    if kinds[0] != kinds[1]:
        raise InputError(f"{first.name} is {kinds[0]}, {other.name} is {kinds[1]}: they have no common test set")
    for fold, test in first.tests.items():
        own = other.tests[fold]
        if sorted(test.labels) != sorted(own.labels):
            raise InputError(
                f"{first.name} has the labels {listed(test.labels)}, {other.name} has {listed(own.labels)}: "
                "only runs with the same labels can be compared"
            )
        if test.clips != own.clips or (_labels(test) != _labels(own)).any():
            where = "" if fold is None else f" in fold {fold}"
            common = len(set(test.clips) & set(own.clips))
            here, there = test.metrics.skipped, own.metrics.skipped
            skipped = f", besides {here} and {there} skipped" if here or there else ""
            raise InputError(
                f"{first.name} and {other.name} were tested on different clips{where}: {len(test.clips)} and "
                f"{len(own.clips)}, of which {common} have the same path, start and end (with other labels, if all){skipped}: only "
                "runs on the same test set can be compared"
            )


def _labels(test: Evaluation) -> np.ndarray:
    """Return the names of the true classes of the clips, (n,)."""
    return np.array(test.labels)[test.truth]
