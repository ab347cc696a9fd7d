"""``peclip cv``: train and test every fold with the code of ``peclip fit``, and summarise the folds.

The folds are trained one after another in this process, each from the same seed. A fold has exactly the results of
``peclip fit --data.fold``, and no fold can continue unseen after the process has ended.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from peclip.configuration import load
from peclip.data.manifest import Manifest
from peclip.data.source import split_source
from peclip.errors import InputError, options_below
from peclip.files import file_errors, write_text
from peclip.labels import class_names
from peclip.model.device import best_precision
from peclip.results.crossval import RESULTS, print_summary, summarise, write_summary
from peclip.results.evaluation import read_evaluation
from peclip.results.options import OPTIONS, read_options
from peclip.terminal import say
from peclip.train.cli.checks import check_fractions
from peclip.train.cli.command import command
from peclip.train.private_hooks import process_rank
from peclip.train.runs.folder import RUNS, next_folder, number_of
from peclip.train.runs.record import mixed_results
from peclip.train.several import (
    CLIPS,
    FitOptions,
    alone,
    check_one_run_options,
    digest_of,
    read_clips,
    read_digest,
    train_and_free,
)


def run(args: list[str], within: Path | None = None) -> None:
    """Train and test every fold, and report them together.

    Args:
        args: ``cv`` and a command line of ``peclip fit``.
        within: folder of the cross-validations with other seeds, whose folds start from the same weights.

    Raises:
        InputError: a user's mistake; the data have no folds; or the folder holds a cross-validation with other options.
    """
    args = args[1:]
    given = command(FitOptions, ["fit", *args])
    options = given.options
    source = _check(options)
    folder = Path(options.folder) if options.folder else _folder(Path(RUNS, options.name))
    # Another machine could choose another precision.
    options.trainer.precision = precision = _precision(folder, options.trainer)
    args = [*args, "--trainer.precision", precision]
    # With several devices, the other processes start when the first one is in its first fold, and run all folds with it.
    if process_rank():
        for fold in _unfinished(folder, source):
            _train(fold, folder, args, within or folder)
        return
    busy = f"another peclip cv is running in {folder}: wait for it, or set another --name or --folder"
    with file_errors(), alone(folder, busy, leftovers={OPTIONS, CLIPS}):
        _begin(folder, given.text, source)
        for fold in _unfinished(folder, source):
            say(f"Fold {fold}")
            shutil.rmtree(_run_of(folder, fold), ignore_errors=True)
            _train(fold, folder, args, within or folder)
        summary = summarise({fold: read_evaluation(_run_of(folder, fold)) for fold in source.folds}, options.name)
        write_summary(folder, summary)
        print_summary(summary)
        say(f"The cross-validation is in {folder}")


def _check(options: Namespace) -> Manifest:
    """Return the source after checking that every fold of it can be trained on.

    Raises:
        InputError: an option contradicts a cross-validation, there are no folds, or a fold lacks training clips of a class.
    """
    data, trainer = options.data, options.trainer
    if data.fold is not None:
        raise InputError(f"data.fold is {data.fold}, but peclip cv tests on every fold: omit it (--data.fold null)")
    check_one_run_options(options, "peclip cv")
    source = read_clips(data)
    if len(source.folds) < 2:
        there = f"has fold {source.folds[0]} alone" if source.folds else "has no folds"
        raise InputError(f"{source.source} {there}, peclip cv needs two or more: use peclip fit, or add a column fold")
    _check_folds(data, source, trainer)
    return source


def _check_folds(data: Namespace, source: Manifest, trainer: Namespace) -> None:
    """Check every fold before the first ones are trained."""
    labels, used = source.labels, source
    if data.labels is not None:
        with options_below("data"):
            labels = [*class_names(data.labels)]
        if data.other_labels == "skip":
            used = source.select(source.table["label"].isin([*labels, ""]))
    for fold in source.folds:
        try:
            with options_below("data"):
                splits = split_source(used, fold, data.val, data.seed)
                splits.train.check_labels(labels)
            # The first fold finds the number of devices; with more than one there are fewer batches.
            check_fractions(trainer, splits, data.batch_size, data.eval_batch_size or data.batch_size)
        except InputError as error:
            raise InputError(f"fold {fold}: {error}") from error


def _folder(runs: Path) -> Path:
    """Return the folder of the latest cross-validation if it is not finished, else the next one."""
    following = next_folder(runs, "cv")
    latest = following.with_name(f"cv_{number_of(following) - 1}")
    return latest if latest.is_dir() and not (latest / RESULTS).exists() else following


def _begin(folder: Path, text: str, source: Manifest) -> None:
    """Write the options and the digest of the clips; if folds are finished, check that both are still the same.

    Raises:
        InputError: the options or the clips have changed, a finished fold is damaged, or the folder holds other files.
    """
    if (folder / RESULTS).exists():
        raise InputError(f"folder {folder} holds a finished cross-validation: name a new one")
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    if (names and CLIPS not in names) or "checkpoints" in names:
        raise InputError(f"folder {folder} holds other files than a cross-validation: name a new one")
    if any(folder.glob("seed_[0-9]*")):  # their folder has a digest of the clips too
        raise InputError(f"folder {folder} holds the runs of several seeds: name a new one")
    digest = digest_of(source)
    unfinished = _unfinished(folder, source)
    if finished := [fold for fold in source.folds if fold not in unfinished]:
        _check_same(folder, load(text))
        if read_digest(folder) != digest:
            raise InputError(
                f"{source.source} has other clips, labels, folds or subjects than when {folder} was interrupted: set another --name "
                "or --folder to start again"
            )
        for fold in finished:
            read_evaluation(_run_of(folder, fold))  # find damaged files now, not after the last fold
        say(f"Resuming {folder}, finished before: fold {', '.join(map(str, finished))}")
        return
    # The first file marks the folder as a cross-validation.
    for name, content in ((CLIPS, f"{digest}\n"), (OPTIONS, text)):
        write_text(folder / name, content)


def _check_same(folder: Path, now: Mapping[str, Any]) -> None:
    """Check that a cross-validation resumes with the options that it began with, except those that do not affect results.

    Raises:
        InputError: an option differs, or the file of the options is damaged.
    """
    for change in mixed_results(_read_options(folder), now):
        if change.option == "trainer.precision" and change.before is None:
            continue  # earlier versions recorded none
        raise InputError(
            f"{folder} was interrupted with {change.option} {change.before!r}, which is {change.now!r} now: use the same "
            "options to resume, or another --name or --folder to start again"
        )


def _read_options(folder: Path) -> dict[str, Any]:
    """Return the options with which a cross-validation began; empty if it has not begun.

    Raises:
        InputError: the file of the options is damaged.
    """
    try:
        return read_options(folder) or {}
    except InputError as error:
        raise InputError(f"{error}: remove {folder} and start again") from error


def _precision(folder: Path, trainer: Namespace) -> str:
    """Return the precision of all folds: that of the options, else of the finished folds, else the best of this machine."""
    before = _read_options(folder).get("trainer", {}).get("precision")
    return trainer.precision or before or best_precision(trainer.accelerator)


def _run_of(folder: Path, fold: int) -> Path:
    return folder / f"fold_{fold}"


def _unfinished(folder: Path, source: Manifest) -> list[int]:
    """Return the folds without results; metrics.json is the last file that a run writes."""
    return [fold for fold in source.folds if not (_run_of(folder, fold) / "metrics.json").exists()]


def _train(fold: int, folder: Path, args: list[str], within: Path) -> None:
    train_and_free(within, ["fit", *args, "--data.fold", str(fold), "--folder", str(_run_of(folder, fold))])
