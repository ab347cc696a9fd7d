"""``peclip cv``: train and test every fold with the code of ``peclip fit``, and summarise the folds.

The folds are trained one after another in this process, each from the same seed: a fold has exactly the
results of ``peclip fit --data.fold``, and the end of the process ends all of it, so that no fold can continue unseen.
"""

import gc
import hashlib
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace

from peclip.configuration import load
from peclip.data.manifest import Manifest
from peclip.data.manifest.soft import soft_columns
from peclip.data.source import read_source, split_source
from peclip.errors import InputError, first_line, options_below
from peclip.files import LOCK, file_errors, locked, read_regular_text, write_text
from peclip.labels import class_names
from peclip.model.precision import best_precision
from peclip.results.crossval import RESULTS, print_summary, summarise, write_summary
from peclip.results.evaluation import read_evaluation
from peclip.results.options import OPTIONS, read_options
from peclip.terminal import say
from peclip.train.cli.building import generate_demo
from peclip.train.cli.checks import check_fractions
from peclip.train.cli.command import command
from peclip.train.cli.lightning import PEClipCLI
from peclip.train.private_hooks import ParseOnlyCLI, process_rank
from peclip.train.runs.folder import ALLOW, RUNS, missing_above, next_folder, number_of, remove_folder
from peclip.train.runs.origin import FILE as ORIGIN
from peclip.train.runs.record import mixed_results
from peclip.train.runs.recorder import given_options

CLIPS = "clips.sha256"
"""Digest of the table of clips, in its folder: to resume, it has to be the same."""


class FitOptions(ParseOnlyCLI, PEClipCLI):
    """Parses the options of ``peclip fit``; nothing is built and nothing is run."""

    def before_instantiate_classes(self) -> None:
        """Do nothing, so that the options stay as they are on the command line."""

    @property
    def text(self) -> str:
        """The options as YAML, without the location of the results."""
        return self.subcommand_parser("fit").dump(given_options(self.options), skip_none=False)


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
    # The precision of another machine could be another one.
    options.trainer.precision = precision = _precision(folder, options.trainer)
    args = [*args, "--trainer.precision", precision]
    # With several devices, the other processes start when the first one is in its first fold, and run all folds with it.
    if process_rank():
        for fold in _unfinished(folder, source):
            _train(fold, folder, args, within or folder)
        return
    with file_errors(), _alone(folder):
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
    if options.ckpt_path is not None:
        raise InputError(
            "ckpt_path belongs to one run: peclip cv resumes by itself with the folds that are not finished; to start every "
            "fold from a trained model, set --init_from"
        )
    if options[ALLOW]:
        raise InputError(f"{ALLOW} belongs to one run: the folds of a cross-validation have the same options")
    if option := without_results(trainer):
        raise InputError(f"trainer.{option} leaves no results of the folds to summarise: omit it in peclip cv")
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
            # How many devices there are is found by the first fold; with more of them there are fewer batches.
            check_fractions(trainer, splits, data.batch_size, data.eval_batch_size or data.batch_size)
        except InputError as error:
            raise InputError(f"fold {fold}: {error}") from error


def without_results(trainer: Namespace) -> str | None:
    """Return the option with which a training leaves no results, None where there is none."""
    idle = {"fast_dev_run": trainer.fast_dev_run, "limit_test_batches 0": trainer.limit_test_batches == 0}
    return next((option for option, is_set in idle.items() if is_set), None)


def read_clips(data: Namespace) -> Manifest:
    """Return all clips that the options of the data name; those of the demo are generated.

    Raises:
        InputError: they cannot be read.
    """
    generate_demo(data)
    with options_below("data"):
        return read_source(data.manifest, data.root, data.benchmark, data.options, data.allow_outside, data.soft_labels)


def _folder(runs: Path) -> Path:
    """Return the folder of the latest cross-validation if it is not finished, else the next one."""
    following = next_folder(runs, "cv")
    latest = following.with_name(f"cv_{number_of(following) - 1}")
    return latest if latest.is_dir() and not (latest / RESULTS).exists() else following


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Create and lock the folder; if it holds no fold, remove it at the end with the empty folders that were made above it.

    Raises:
        InputError: another process has locked it; the two would delete each other's folds.
    """
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    is_own = names <= {LOCK} or CLIPS in names
    made = missing_above(folder)
    folder.mkdir(parents=True, exist_ok=True)
    busy = f"another peclip cv is running in {folder}: wait for it, or set another --name or --folder"
    with locked(folder, busy):
        try:
            yield
        finally:
            if is_own and {path.name for path in folder.iterdir()} <= {LOCK, OPTIONS, CLIPS}:
                remove_folder(folder, made)


def _begin(folder: Path, text: str, source: Manifest) -> None:
    """Write the options and the digest of the clips; if folds are finished, check that both are still the same.

    Raises:
        InputError: one has changed, a finished fold is torn, or the folder holds other files.
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
            read_evaluation(_run_of(folder, fold))  # find torn files now, not after the last fold
        say(f"Resuming {folder}, finished before: fold {', '.join(map(str, finished))}")
        return
    for name, content in ((CLIPS, f"{digest}\n"), (OPTIONS, text)):  # the first one tells what the folder is
        write_text(folder / name, content)


def digest_of(source: Manifest) -> str:
    """Return a digest of what decides on which clips a run, or a fold, is trained, validated and tested."""
    more = (*source.fold_columns.values(), *soft_columns(source.table).values())
    subject = ["subject"] if source.table["subject"].ne("").any() else []  # whom validation keeps apart
    columns = ["path", "label", "split", "fold", "start", "end", *more, *subject]
    return hashlib.sha256(source.table[columns].to_csv().encode(errors="surrogateescape")).hexdigest()


def read_digest(folder: Path) -> str | None:
    """Return the digest of the clips with which a folder was begun; None where it has none.

    Raises:
        InputError: it is not UTF-8, or not a file.
    """
    path = folder / CLIPS
    try:
        return read_regular_text(path).strip()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}: set another --name or --folder") from error


def _check_same(folder: Path, now: Mapping[str, Any]) -> None:
    """Check that a cross-validation resumes with the options that it began with, but for those that do not affect results.

    Raises:
        InputError: an option differs, or the file of the options is torn.
    """
    for change in mixed_results(_read_options(folder), now):
        if change.option == "trainer.precision" and change.before is None:
            continue  # earlier versions recorded none
        raise InputError(
            f"{folder} was interrupted with {change.option} {change.before!r}, which is {change.now!r} now: use the same "
            "options to resume, or another --name or --folder to start again"
        )


def _read_options(folder: Path) -> dict[str, Any]:
    """Return the options with which a cross-validation began; none where it has not begun.

    Raises:
        InputError: the file of the options is torn.
    """
    try:
        return read_options(folder) or {}
    except InputError as error:
        raise InputError(f"{error}: remove {folder} and start again") from error


def _precision(folder: Path, trainer: Namespace) -> str:
    """Return the precision of all folds: that of the options, or of those before, or the best of this machine."""
    before = _read_options(folder).get("trainer", {}).get("precision")
    return trainer.precision or before or best_precision(trainer.accelerator)


def _run_of(folder: Path, fold: int) -> Path:
    return folder / f"fold_{fold}"


def _unfinished(folder: Path, source: Manifest) -> list[int]:
    """Return the folds without results; metrics.json is the last file that a run writes."""
    return [fold for fold in source.folds if not (_run_of(folder, fold) / "metrics.json").exists()]


def _train(fold: int, folder: Path, args: list[str], within: Path) -> None:
    train_and_free(within, ["fit", *args, "--data.fold", str(fold), "--folder", str(_run_of(folder, fold))])


class OneOfSeveral(PEClipCLI):
    """``peclip fit`` as a fold or a seed of a command that resumes by itself.

    Args:
        args: as for PEClipCLI.
        within: folder of all folds and seeds, which start from the same weights: mean and spread are of these.
        options: as for PEClipCLI.
    """

    RESUME = "resume with the same command"
    OTHER_ORIGIN = (
        "put that model back, or start all again from a copy that stays as it is, with another --name or --folder"
    )

    def __init__(self, *args: Any, within: Path, **options: Any) -> None:
        self._within = within
        super().__init__(*args, **options)

    def started_before(self) -> list[Path]:
        """Return the folds and seeds that have started from a model."""
        return sorted(path.parent for runs in ("*", "*/*") for path in self._within.glob(f"{runs}/{ORIGIN}"))


def train_and_free(within: Path, args: list[str]) -> None:
    """Run ``peclip fit`` with a command line, as one of those in a folder, and free its resources before the next run."""
    try:
        command(OneOfSeveral, args, within=within)
    finally:
        if wandb := sys.modules.get("wandb"):
            wandb.finish()  # otherwise the next fold would be logged into the run of this one
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
