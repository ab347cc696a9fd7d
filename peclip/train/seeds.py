"""``peclip fit --seeds N`` and ``peclip cv --seeds N``: train and test with several seeds in turn, and print their table.

Each seed has a folder with the run, or the cross-validation, of ``--seed_everything SEED``. The same command resumes: it keeps finished
runs, continues an interrupted run from its checkpoint, and an interrupted cross-validation with the missing folds.
"""

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from peclip.configuration import load
from peclip.data.manifest import Manifest
from peclip.data.source import split_source
from peclip.errors import InputError, options_below
from peclip.files import file_errors, write_text
from peclip.results.crossval import RESULTS
from peclip.results.evaluation import METRICS
from peclip.results.options import OPTIONS, read_options
from peclip.results.table import table
from peclip.terminal import say
from peclip.train.cli.checks import SEEDS
from peclip.train.cli.command import command
from peclip.train.cv import run as cross_validate
from peclip.train.private_hooks import process_rank
from peclip.train.runs.checkpoint_io import LAST
from peclip.train.runs.checkpoints import PREVIOUS
from peclip.train.runs.folder import RUNS
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

OPTION = "--seeds"

MOST = 1000
"""Maximum number of seeds; more are a mistake."""

FOUND_OUT = ("trainer.precision", "data.labels")
"""Options that a command may leave open, and that its run records as it has found them."""

OWN = ("seed_everything", "seed", "name")
"""Options that differ between the runs, or do not matter."""


def run(args: list[str]) -> None:
    """Train and test with every seed, and print the table of the results.

    Args:
        args: ``fit`` or ``cv`` and a command line of ``peclip fit`` with ``--seeds N``.

    Raises:
        InputError: a user's mistake, a finished run has other options, or a folder holds something else.
    """
    name, (number, rest) = args[0], _split(args[1:])
    given = command(FitOptions, ["fit", *rest])
    options = given.options
    check_one_run_options(options, f"peclip {name} {OPTION}")
    if (last := options.seed_everything + number - 1) >= SEEDS:
        raise InputError(f"seed_everything is {last} for the last of {number} seeds, expected 0 to {SEEDS - 1}")
    default = Path(RUNS, options.name, "cv") if name == "cv" else Path(RUNS, options.name)
    folder = Path(options.folder) if options.folder else default
    runs = {seed: folder / f"seed_{seed}" for seed in range(options.seed_everything, options.seed_everything + number)}
    last_file, train = (RESULTS, _cross_validate) if name == "cv" else (METRICS, _train)
    # With several devices, the other processes start when the first one is in its first run, and continue with it.
    if process_rank():
        for seed, run_folder in _unfinished(runs, last_file).items():
            train(run_folder, seed, rest)
        return
    busy = f"another peclip {name} --seeds is running in {folder}: wait for it, or set another --name or --folder"
    with file_errors():
        _check_kinds(folder, name)
    with file_errors(), alone(folder, busy, leftovers={CLIPS}):
        unfinished = _unfinished(runs, last_file)
        for seed, run_folder in runs.items():
            if seed not in unfinished:
                _check_same(run_folder, load(given.text))
        if unfinished:
            clips = read_clips(options.data)
            if name == "fit":
                _check_evaluated(clips, options)
            _check_clips(folder, clips, is_begun=len(unfinished) < len(runs))
        for seed, run_folder in unfinished.items():
            say(f"Seed {seed}")
            train(run_folder, seed, rest)
        table([str(run_folder) for run_folder in runs.values()])
        say(f"The runs are in {folder}")


def _split(args: list[str]) -> tuple[int, list[str]]:
    """Return the number of seeds, and the command line without it.

    Raises:
        InputError: the value is not a number of seeds.
    """
    place = next(place for place, arg in enumerate(args) if arg.partition("=")[0] == OPTION)
    _, sign, value = args[place].partition("=")
    value, rest = (value, args[place + 1 :]) if sign else (next(iter(args[place + 1 :]), ""), args[place + 2 :])
    if not value.isascii() or not value.isdigit() or not 1 <= int(value[:9]) <= MOST:
        raise InputError(f"{OPTION} is {value!r}, expected a number of seeds from 1 to {MOST:,}")
    return int(value), [*args[:place], *rest]


def _check_same(run: Path, now: dict[str, Any]) -> None:
    """Check that a finished run has the options of this command.

    Raises:
        InputError: an option differs.
    """
    for change in mixed_results(read_options(run) or {}, now):
        is_left_open = change.now is None and change.option in FOUND_OUT
        if change.option.rpartition(".")[2] not in OWN and not is_left_open:
            raise InputError(
                f"{run} has {change.option} {change.before!r}, which is {change.now!r} now: use the same options, or another "
                "--name or --folder"
            )


def _check_evaluated(clips: Manifest, options: Namespace) -> None:
    """Check, before the first training, that there are clips to evaluate on.

    Raises:
        InputError: there are none, so that no seed would have results.
    """
    data = options.data
    with options_below("data"):
        splits = split_source(clips, data.fold, data.val, data.seed)
    if not len(splits.test) and (not len(splits.val) or options.trainer.limit_val_batches == 0):
        raise InputError(
            f"{clips.source} has no test clips, and nothing is validated: {OPTION} would leave no results for the table"
        )


def _check_clips(folder: Path, clips: Manifest, is_begun: bool) -> None:
    """Check that the clips are those of the seeds that are finished, and record them.

    Raises:
        InputError: the clips are others.
    """
    digest = digest_of(clips)
    if is_begun and read_digest(folder) not in (digest, None):  # earlier versions recorded none
        raise InputError(
            f"{clips.source} has other clips, labels, splits or subjects than when the first seeds of {folder} were trained: set "
            "another --name or --folder to start again"
        )
    write_text(folder / CLIPS, f"{digest}\n")


def _check_kinds(folder: Path, name: str) -> None:
    """Check that a folder is not itself a run or a cross-validation, and that its seeds are those of the same command.

    Raises:
        InputError: the folder is one, or the seeds are of another command; the table would hide the results of one of the two.
    """
    found = {path.name for path in folder.glob("*")}
    if {OPTIONS, "checkpoints"} & found:
        raise _taken(folder, found, name)
    for run in sorted(folder.glob("seed_[0-9]*")):
        _check_kind(run, name)


def _check_kind(run: Path, name: str) -> None:
    """Check that a folder holds only what the same command has begun: a training removes what it cannot resume.

    Raises:
        InputError: the folder holds something else.
    """
    found = {path.name for path in run.glob("[!.]*")}
    if found and (not {OPTIONS, CLIPS} & found or (CLIPS in found) != (name == "cv")):
        raise _taken(run, found, name)


def _taken(folder: Path, found: Collection[str], name: str) -> InputError:
    what = "a cross-validation" if CLIPS in found else "a run of peclip fit" if OPTIONS in found else "other files"
    return InputError(f"{folder} holds {what}, peclip {name} {OPTION} needs a folder of its own: set another --folder")


def _unfinished(runs: Mapping[int, Path], last: str) -> dict[int, Path]:
    """Return the folders of the seeds without results, whose last file is missing."""
    return {seed: run for seed, run in runs.items() if not (run / last).exists()}


def _train(run: Path, seed: int, args: list[str]) -> None:
    """Train and test with a seed, from the checkpoint of the run if it was interrupted."""
    where = ["--folder", str(run)]
    if any((run / "checkpoints" / name).exists() for name in (LAST, PREVIOUS)):
        where += ["--ckpt_path", str(run)]
    elif not process_rank():
        shutil.rmtree(run, ignore_errors=True)
    train_and_free(run.parent, ["fit", *args, "--seed_everything", str(seed), *where])


def _cross_validate(folder: Path, seed: int, args: list[str]) -> None:
    """Train and test every fold with a seed; an interrupted cross-validation resumes by itself."""
    cross_validate(["cv", *args, "--seed_everything", str(seed), "--folder", str(folder)], within=folder.parent)
