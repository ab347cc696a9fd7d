"""Train several runs with one command: the steps that the folds of ``peclip cv`` and the seeds of ``--seeds`` share."""

import gc
import hashlib
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace

from peclip.data.manifest import Manifest
from peclip.data.manifest.soft import soft_columns
from peclip.data.source import read_source
from peclip.errors import InputError, first_line, options_below
from peclip.files import LOCK, locked, read_regular_text
from peclip.train.cli.command import command
from peclip.train.cli.lightning import PEClipCLI
from peclip.train.cli.options import generate_demo
from peclip.train.runs.folder import ALLOW, missing_above, remove_folder
from peclip.train.runs.recorder import given_options
from peclip.train.runs.start_model import ORIGIN_FILE

CLIPS = "clips.sha256"
"""File with the digest of the clips, in the folder of the runs: to resume, the clips must be the same."""


class FitOptions(PEClipCLI):
    """Parses the options of ``peclip fit``; nothing is built and nothing is run."""

    def before_instantiate_classes(self) -> None:
        """Do nothing, so that the options stay as they are on the command line."""

    def instantiate_classes(self) -> None:
        """Build nothing."""

    def set_seed(self) -> None:
        """Seed nothing."""

    def run_subcommand(self, subcommand: str) -> None:
        """Run nothing."""

    @property
    def text(self) -> str:
        """The options as YAML, without the location of the results."""
        return self.subcommand_parser("fit").dump(given_options(self.options), skip_none=False)


def check_one_run_options(options: Namespace, command: str) -> None:
    """Check that no option belongs to a single run, and that each run will leave results.

    Args:
        options: options of ``peclip fit``.
        command: name of the command that trains several runs, for the messages.

    Raises:
        InputError: an option contradicts several runs.
    """
    if options.ckpt_path is not None:
        raise InputError(
            f"ckpt_path belongs to one run: {command} resumes by itself with what is not finished; to start every run from a "
            "trained model, set --init_from"
        )
    if options[ALLOW]:
        raise InputError(f"{ALLOW} belongs to one run: all runs of {command} have the same options")
    trainer = options.trainer
    idle = {"fast_dev_run": trainer.fast_dev_run, "limit_test_batches 0": trainer.limit_test_batches == 0}
    if option := next((option for option, is_set in idle.items() if is_set), None):
        raise InputError(f"trainer.{option} leaves no results to summarise: omit it in {command}")


def read_clips(data: Namespace) -> Manifest:
    """Return all clips that the options of the data name; those of the demo are generated.

    Raises:
        InputError: the clips cannot be read.
    """
    generate_demo(data)
    with options_below("data"):
        return read_source(data.manifest, data.root, data.benchmark, data.options, data.allow_outside, data.soft_labels)


def digest_of(source: Manifest) -> str:
    """Return a digest of everything that decides which clips a run or a fold trains on, validates and tests."""
    more = (*source.fold_columns.values(), *soft_columns(source.table).values())
    subject = ["subject"] if source.table["subject"].ne("").any() else []  # subjects decide the validation split
    columns = ["path", "label", "split", "fold", "start", "end", *more, *subject]
    return hashlib.sha256(source.table[columns].to_csv().encode(errors="surrogateescape")).hexdigest()


def read_digest(folder: Path) -> str | None:
    """Return the digest of the clips with which a folder was begun; None if the folder has none.

    Raises:
        InputError: the digest is not UTF-8, or not a file.
    """
    path = folder / CLIPS
    try:
        return read_regular_text(path).strip()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}: set another --name or --folder") from error


@contextmanager
def alone(folder: Path, busy: str, leftovers: Collection[str]) -> Iterator[None]:
    """Create and lock the folder of several runs; remove it at the end if none of them has begun.

    The empty folders that were created above it are removed with it. A folder that held other files before is kept.

    Args:
        folder: folder of the runs.
        busy: message of the error if another process has locked it; the two would delete each other's runs.
        leftovers: names of the files that the command itself writes before its first run.

    Raises:
        InputError: another process has locked the folder.
    """
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    is_own = names <= {LOCK} or CLIPS in names
    made = missing_above(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, busy):
        try:
            yield
        finally:
            if is_own and {path.name for path in folder.iterdir()} <= {LOCK, *leftovers}:
                remove_folder(folder, made)


class OneOfSeveral(PEClipCLI):
    """``peclip fit`` as a fold or a seed of a command that resumes by itself.

    Args:
        args: arguments of PEClipCLI.
        within: folder of all folds and seeds, which start from the same weights, so that mean and spread are about one model.
        options: keyword arguments of PEClipCLI.
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
        return sorted(path.parent for runs in ("*", "*/*") for path in self._within.glob(f"{runs}/{ORIGIN_FILE}"))


def train_and_free(within: Path, args: list[str]) -> None:
    """Run ``peclip fit`` as one of several runs, and free its resources before the next run.

    Args:
        within: folder of all folds and seeds, see :class:`OneOfSeveral`.
        args: ``fit`` and its command line.
    """
    try:
        command(OneOfSeveral, args, within=within)
    finally:
        if wandb := sys.modules.get("wandb"):
            wandb.finish()  # otherwise the next fold would be logged into the run of this one
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
