"""Find runs below folders, and group those that differ only in the seed."""

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

from peclip.errors import InputError, shown
from peclip.files import file_errors, is_not, natural_key
from peclip.results.crossval import RESULTS, read_summary
from peclip.results.evaluation import METRICS, read_metrics, run_above
from peclip.results.formatting import total
from peclip.results.options import DEVICES, FREE, LOCATION, OPTIONS, SEED_OPTION, by_name, read_changes, read_options
from peclip.results.selection import EvaluatedSplit, Selection
from peclip.results.training import read_training

ALIKE = (FREE - DEVICES) | {SEED_OPTION, "data.seed"}
"""Options in which the runs of a row may differ."""


@dataclass(frozen=True)
class Result:
    """The result of a run, of an evaluation or of a cross-validation.

    Attributes:
        folder: folder of the result.
        seed: seed of its training; None if it is not known.
        clips: number of clips that were evaluated, over all folds.
        war: weighted average recall; of a cross-validation the mean over the folds.
        uar: unweighted average recall, as above.
        trainable: number of trained parameters.
        parameters: number of all parameters.
        split: split that was evaluated.
        selection: clips on which its checkpoint was chosen.
        flops: floating-point operations of a clip; None if they are not known.
        seconds: duration of the training; of a cross-validation the mean over the folds; None if it is not known.
        device: name of the device on which it was trained; empty if it is not known.
        remarks: sentences on what is special about its evaluation.
        method: name of the parts that were trained; None if it is not known.
        kind: text of all that runs of one row have in common, such as the options; None if these are not known.
        repeated: folders with the same seed and result, which do not count.
    """

    folder: Path
    seed: int | None
    clips: int
    war: float
    uar: float
    trainable: int
    parameters: int
    split: EvaluatedSplit
    selection: Selection
    flops: int | None
    seconds: float | None
    device: str
    remarks: tuple[str, ...]
    method: str | None
    kind: str | None = field(repr=False)
    repeated: tuple[Path, ...] = ()

    def repeats(self, other: "Result") -> bool:
        """Return whether two results of one row are of the same seed, and the same."""
        facts = [(result.seed, result.clips, result.war, result.uar) for result in (self, other)]
        return self.seed is not None and facts[0] == facts[1]


@dataclass(frozen=True)
class FoundResults:
    """Folders of results, and of runs that are not finished."""

    results: tuple[Path, ...]
    unfinished: tuple[Path, ...]


def find_results(paths: Sequence[str]) -> FoundResults:
    """Return the folders of results that paths name: results themselves, folders of them, and patterns such as ``runs/*``.

    Evaluations below a run, such as ``test_0``, are found where they are named.

    Raises:
        InputError: a path does not exist, or no finished result is in it.
    """
    results: dict[Path, Path] = {}
    unfinished: dict[Path, Path] = {}
    with file_errors():
        for path in paths:
            for folder in _named(path):
                for place, done in _walk(folder):
                    (results if done else unfinished).setdefault(place.resolve(), place)
    if not results:
        more = f"; {next(iter(unfinished.values()))} is not finished" if unfinished else ""
        raise InputError(f"no finished run in {', '.join(paths)}, expected folders with {METRICS} or {RESULTS}{more}")
    return FoundResults(tuple(results.values()), tuple(unfinished.values()))


def replicates(folders: Sequence[Path]) -> list[list[Result]]:
    """Read results, and group those that differ only in the seed, in the order of the first one of each group.

    A run that was repeated with the same seed and the same result counts once, and knows the folders that do not count.

    Raises:
        InputError: a file is damaged.
    """
    rows: dict[str, list[Result]] = {}
    for folder in folders:
        result = read_result(folder)
        row = rows.setdefault(result.kind or f"only {folder}", [])
        same = next((number for number, other in enumerate(row) if result.repeats(other)), None)
        if same is None:
            row.append(result)
        else:
            row[same] = replace(row[same], repeated=(*row[same].repeated, folder))
    return list(rows.values())


def read_result(folder: Path) -> Result:
    """Read the result of a run, an evaluation or a cross-validation.

    Raises:
        InputError: a file is damaged.
    """
    return _cross_validation(folder) if (folder / RESULTS).exists() else _run(folder)


def _run(folder: Path) -> Result:
    metrics, run = read_metrics(folder), run_above(folder)
    assert metrics is not None
    training = read_training(folder) or (read_training(run) if run else None)
    facts = [metrics.trainable, metrics.parameters, metrics.split, metrics.benchmark, metrics.fold, metrics.remarks]
    options = read_options(folder)
    of_training = read_options(run) if run else options
    changes = [astuple(change) for change in read_changes(run or folder) if change.option not in ALIKE | LOCATION]
    return Result(
        folder=folder,
        seed=_seed(of_training),
        clips=metrics.scores.clips,
        war=metrics.scores.war,
        uar=metrics.scores.uar,
        trainable=metrics.trainable,
        parameters=metrics.parameters,
        split=metrics.split,
        selection=metrics.selection,
        flops=metrics.flops,
        seconds=training.seconds if training else None,
        device=_device(folder) or (_device(run) if run else ""),
        remarks=tuple(metrics.remarks),
        method=metrics.method,
        kind=_kind(options, of_training, [*facts, *changes, *([] if run else [metrics.model])]),
    )


def _cross_validation(folder: Path) -> Result:
    summary, options = read_summary(folder), read_options(folder)
    if summary.war.mean is None or summary.uar.mean is None:
        raise InputError(f"{folder / RESULTS} is damaged: it has no mean WAR and UAR")
    whole = total([fold.seconds for fold in summary.folds])
    devices = dict.fromkeys(filter(None, (_device(folder / fold.run) for fold in summary.folds)))
    folds = [fold.fold for fold in summary.folds]
    return Result(
        folder=folder,
        seed=_seed(options),
        clips=summary.clips,
        war=summary.war.mean,
        uar=summary.uar.mean,
        trainable=summary.trainable,
        parameters=summary.parameters,
        split="test",
        selection=summary.selection,
        flops=summary.flops,
        seconds=None if whole is None else whole / len(folds),
        device=", ".join(devices),
        remarks=tuple(f"fold {fold.fold}: {remark}" for fold in summary.folds for remark in fold.remarks),
        method=summary.method,
        kind=_kind(options, options, [summary.trainable, summary.parameters, summary.benchmark, folds]),
    )


def _kind(options: Mapping[str, Any] | None, of_training: Mapping[str, Any] | None, facts: Sequence[Any]) -> str | None:
    """Return a text that is equal for results that differ only in the seed; None if the options are not known.

    An option without a value is like one that an earlier version did not have.
    """
    if options is None or of_training is None:
        return None
    sections = []
    for section in (options, of_training):
        known = {name: value for name, value in by_name(section) if name not in ALIKE and value is not None}
        sections.append(sorted((name, repr(value)) for name, value in known.items()))
    return repr([*sections, *facts])


def _seed(options: Mapping[str, Any] | None) -> int | None:
    seed = (options or {}).get(SEED_OPTION)
    return seed if isinstance(seed, int) else None


def _device(run: Path) -> str:
    if not (training := read_training(run)) or not training.device:
        return ""
    return f"{training.devices} x {training.device}" if training.devices > 1 else training.device


def _named(path: str) -> list[Path]:
    """Return the folder that a path names, or the folders that a pattern does.

    Raises:
        InputError: there is none.
    """
    if Path(path).is_dir():
        return [Path(path)]
    if glob.has_magic(path):
        found = [Path(name) for name in sorted(glob.glob(path), key=natural_key) if Path(name).is_dir()]
        if found:
            return found
        raise InputError(f"{shown(path)} matches no folder, expected folders of runs")
    why = is_not(Path(path), "folder")
    raise InputError(f"{path}: {why}, expected the folder of a run, of a cross-validation, or one that holds some")


def _walk(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Yield the folders of results in a folder, or itself, and whether each is finished; links are not followed."""
    following = [folder]
    while following:
        folder = following.pop()
        if any((folder / name).exists() for name in (METRICS, RESULTS)):
            yield folder, True
            continue
        below = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
        begun = (folder / OPTIONS).exists() or (folder / "checkpoints").is_dir()
        if begun and not any(path.name.startswith("seed_") for path in below):
            yield folder, False
            continue
        following += sorted(below, key=lambda path: natural_key(path.name), reverse=True)
