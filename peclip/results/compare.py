"""``peclip compare``: runs of one test set side by side, and how sure the differences between them are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from peclip.errors import InputError
from peclip.files import write_json, write_text
from peclip.results.bootstrap import DRAWS, LEVEL, Outcomes, Rates, interval, observed, p_value, resample
from peclip.results.crossval import RESULTS
from peclip.results.evaluation import Evaluation, read_evaluation
from peclip.results.tables import duration, markdown_table, percent, percent_interval, points, print_table

SEED = 0

Comparison = dict[str, Any]
"""The content of comparison.json: ``runs`` with scores, intervals, parameters and time; ``differences`` of each to the first."""

NOTE = (
    "Brackets hold {level:.0%} intervals. Differences are to the first run, in percentage points: the same test clips are "
    "drawn for both ({draws:,} bootstrap draws), p is two-sided. They do not tell how much depends on the seed of the "
    "training; several comparisons at once find differences by chance more often than p says."
)

SKIPPED = "{name}: {count} clips of the test set could not be read and were skipped, see skipped.csv."

OPTIMISTIC = "{name}: the checkpoint was chosen on the test clips (val: test), so its result is optimistic."


@dataclass(frozen=True)
class Entry:
    """What is compared: a run, or a cross-validation with its folds.

    Attributes:
        name: as the user gave it.
        tests: the evaluation of a run, or of each fold, by fold; a single run has the fold None.
    """

    name: str
    tests: dict[int | None, Evaluation]

    @property
    def first(self) -> Evaluation:
        """One of the evaluations: what they have in common, such as the labels."""
        return next(iter(self.tests.values()))

    @property
    def seconds(self) -> float | None:
        """How long the training of all took; None where one of them did not train."""
        times = [test.seconds for test in self.tests.values()]
        return sum(time for time in times if time is not None) if None not in times else None

    @property
    def devices(self) -> str:
        """On what they trained."""
        found = {(test.training.get("devices", 1), test.training.get("device", "")) for test in self.tests.values()}
        return ", ".join(sorted(f"{count} x {device}" if count > 1 else device for count, device in found))


def compare(runs: list[str], out: str | None = None) -> None:
    """Put runs side by side: WAR, UAR and recalls, differences to the first with intervals and p, parameters and time.

    Args:
        runs: Folders of two or more runs that were tested on the same clips, or of finished cross-validations.
        out: Folder to write comparison.md and comparison.json into; by default nothing is written.

    Raises:
        InputError: there is no run in a folder, or the runs have other test clips or labels.
    """
    if len(runs) < 2:
        raise InputError("peclip compare needs two or more runs")
    entries = [read_entry(run) for run in runs]
    for entry in entries[1:]:
        _check_alike(entries[0], entry)
    comparison = _compare(entries)
    for title, (header, rows) in _tables(comparison).items():
        print_table(title, header, rows, end_section="UAR")
    print("\n".join(_notes(comparison)))
    if out:
        write_text(Path(out) / "comparison.md", as_markdown(comparison))
        write_json(Path(out) / "comparison.json", comparison)
        print(f"The comparison is in {out}")


def read_entry(run: str) -> Entry:
    """Read a run or a cross-validation.

    Raises:
        InputError: it is neither, it is not finished, or a file is torn.
    """
    folder = Path(run)
    folds = {int(path.name[5:]): path for path in folder.glob("fold_*") if path.name[5:].isdecimal()}
    if not folds:
        return Entry(run, {None: _in_order(read_evaluation(folder))})
    if not (folder / RESULTS).exists():
        raise InputError(f"{run} is a cross-validation that is not finished: start its peclip cv again to go on")
    return Entry(run, {fold: _in_order(read_evaluation(folds[fold])) for fold in sorted(folds)})


def as_markdown(comparison: Comparison) -> str:
    """Return the comparison as a page of markdown."""
    parts = ["# Comparison"]
    for title, table in _tables(comparison).items():
        parts += [f"## {title}", markdown_table(*table)]
    return "\n\n".join([*parts, *_notes(comparison)]) + "\n"


def _in_order(test: Evaluation) -> Evaluation:
    """Return an evaluation with its clips in the order of their paths, which may differ between manifests."""
    clips = test.clips.sort_values("path", kind="stable", ignore_index=True)
    return Evaluation(test.folder, test.metrics, test.training, test.labels, clips)


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
                f"{first.name} has the labels {', '.join(test.labels)}, {other.name} has {', '.join(own.labels)}: "
                "only runs with the same labels can be compared"
            )
        if not test.clips[["path", "label"]].equals(own.clips[["path", "label"]]):
            where = "" if fold is None else f" in fold {fold}"
            common = len(set(test.clips["path"]) & set(own.clips["path"]))
            skipped = f", besides {test.skipped} and {own.skipped} skipped" if test.skipped or own.skipped else ""
            raise InputError(
                f"{first.name} and {other.name} were tested on different clips{where}: {len(test.clips)} and "
                f"{len(own.clips)}, of which {common} have the same path (with other labels, if all){skipped}: only "
                "runs on the same test set can be compared"
            )


def _compare(entries: Sequence[Entry]) -> Comparison:
    """Return the scores of each and the differences to the first."""
    labels = entries[0].first.labels
    parts = []
    for fold, first in entries[0].tests.items():
        clips = [entry.tests[fold].clips for entry in entries]
        hits = np.stack([(table["label"] == table["predicted"]).to_numpy(bool) for table in clips])
        parts.append(Outcomes(first.truth, hits))
    seen, drawn = observed(parts, len(labels)), resample(parts, len(labels), seed=SEED)
    runs = [_run(entry, index, seen, drawn, labels) for index, entry in enumerate(entries)]
    differences = []
    for index, entry in enumerate(entries[1:], start=1):
        content: dict[str, Any] = {"run": entry.name, "to": entries[0].name}
        for name, there, draws in (("war", seen.war, drawn.war), ("uar", seen.uar, drawn.uar)):
            by_draw = draws[:, index] - draws[:, 0]
            difference = float(there[0, index] - there[0, 0])
            content[name] = {"difference": difference, "interval": interval(by_draw), "p": p_value(by_draw)}
        differences.append(content)
    return {
        "clips": sum(len(part.truth) for part in parts),
        "folds": [fold for fold in entries[0].tests if fold is not None],
        "runs": runs,
        "differences": differences,
        "bootstrap": {"draws": DRAWS, "level": LEVEL, "seed": SEED},
    }


def _run(entry: Entry, index: int, seen: Rates, drawn: Rates, labels: Sequence[str]) -> dict[str, Any]:
    """Return what stands in ``runs`` of an entry, which is number ``index`` of the rates."""
    recalls = seen.recalls[0, index]
    return {
        "run": entry.name,
        "split": entry.first.metrics["split"],
        "selection": entry.first.metrics["selection"],
        "war": {"value": float(seen.war[0, index]), "interval": interval(drawn.war[:, index])},
        "uar": {"value": float(seen.uar[0, index]), "interval": interval(drawn.uar[:, index])},
        "per_class_recall": {
            label: None if np.isnan(recall) else float(recall) for label, recall in zip(labels, recalls, strict=True)
        },
        "skipped": sum(test.skipped for test in entry.tests.values()),
        "trainable": entry.first.metrics["trainable"],
        "parameters": entry.first.metrics["parameters"],
        "seconds": entry.seconds,
        "devices": entry.devices,
    }


def _tables(comparison: Comparison) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Return tables by their titles: each a header and rows."""
    runs, differences = comparison["runs"], comparison["differences"]
    names = [run["run"] for run in runs]
    folds = f", mean of {len(comparison['folds'])} folds" if comparison["folds"] else ""
    scores = [
        [name.upper(), *(f"{percent(run[name]['value'])} {percent_interval(run[name]['interval'])}" for run in runs)]
        for name in ("war", "uar")
    ]
    for label in runs[0]["per_class_recall"]:
        scores.append([f"recall {label}", *(percent(run["per_class_recall"][label]) for run in runs)])
    for title, value in (
        ("trained parameters", lambda run: f"{run['trainable']:,}"),
        ("all parameters", lambda run: f"{run['parameters']:,}"),
        ("training time", lambda run: duration(run["seconds"])),
        ("trained on", lambda run: run["devices"] or "unknown"),
    ):
        scores.append([title, *map(value, runs)])
    changes = [
        [entry["run"], name.upper(), points(change["difference"]), points(change["interval"]), f"{change['p']:.4f}"]
        for entry in differences
        for name, change in (("war", entry["war"]), ("uar", entry["uar"]))
    ]
    level = f"{LEVEL:.0%} interval"
    return {
        f"Results on {comparison['clips']:,} {runs[0]['split']} clips{folds}": (["", *names], scores),
        f"Differences to {names[0]}": (["run", "", "difference", level, "p"], changes),
    }


def _notes(comparison: Comparison) -> list[str]:
    """Return what has to be known to read the tables."""
    runs = comparison["runs"]
    skipped = [SKIPPED.format(name=run["run"], count=run["skipped"]) for run in runs if run["skipped"]]
    chosen = [OPTIMISTIC.format(name=run["run"]) for run in runs if run["selection"] == "test"]
    return [NOTE.format(**comparison["bootstrap"]), *skipped, *chosen]
