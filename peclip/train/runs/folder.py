"""Name the folder of a run.

A training is ``runs/NAME/version_N``. Evaluations of its model are below it, as ``test_0``, ``test_1``, ``predict_0``;
those of any other model are ``runs/NAME/test_N``. Neither is mistaken for a training.
"""

import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import yaml
from jsonargparse import Namespace
from lightning.pytorch.loggers import CSVLogger

from peclip.errors import InputError
from peclip.files import is_temporary
from peclip.results.options import OPTIONS

RUNS = "runs"

ALLOW = "allow_changes"
"""Option that allows a resumed run to change options from its checkpoint on."""

VERSION = "version"
"""Stem of the folders of trainings; the stem of an evaluation is the name of its command."""


def next_folder(parent: Path, stem: str) -> Path:
    """Return the next of the numbered folders ``STEM_0``, ``STEM_1`` and so on; it is not created."""
    numbers = [number for path in parent.glob(f"{stem}_*") if (number := number_of(path)) >= 0]
    return parent / f"{stem}_{max(numbers, default=-1) + 1}"


def number_of(folder: Path) -> int:
    """Return the number of a numbered folder; -1 if it has none."""
    number = folder.name.rpartition("_")[2]
    return int(number) if number.isdecimal() else -1


def run_of_model(source: str) -> Path | None:
    """Return the folder of the run that a model is from: the run itself, or that of a checkpoint; None for others."""
    path = Path(source)
    folder = path if path.is_dir() else path.parent.parent if path.parent.name == "checkpoints" else None
    return folder if folder and (folder / "checkpoints").is_dir() else None


def evaluation_folder(source: str | None, command: str, runs: Path) -> Path:
    """Return a new folder for the results of an evaluation.

    Args:
        source: trained model; None if there is none.
        command: ``test``, ``validate`` or ``predict``.
        runs: folder of the runs of this name, for a model without a run.
    """
    run = run_of_model(source) if source else None
    return next_folder(run or runs, command)


def check_new_folder(folder: Path, option: str) -> None:
    """Check that a run can be put into a folder.

    Args:
        folder: folder, which must be absent or empty.
        option: name of the option, for the message.

    Raises:
        InputError: the folder is a file, or not empty.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{option} {folder} is a file: name a new folder")
    if (folder / OPTIONS).exists():
        raise InputError(f"{option} {folder} holds a run already: name a new one")
    if folder.is_dir() and not all(map(is_temporary, folder.iterdir())):
        raise InputError(f"{option} {folder} is not empty: name a new one")


def missing_above(folder: Path) -> list[Path]:
    """Return the folders above a folder that do not exist yet, the lowest first."""
    return [above for above in folder.parents if not above.exists()]


def remove_folder(folder: Path, above: Iterable[Path]) -> None:
    """Remove a folder with its content, and then those of the given folders above it that are empty, the lowest first."""
    shutil.rmtree(folder, ignore_errors=True)
    for each in above:
        with suppress(OSError):  # the folder holds other runs
            each.rmdir()


def own_logger(folder: Path) -> Namespace:
    """Return the CSV logger of a run, as a configuration describes it."""
    place = Namespace(save_dir=str(folder.parent), name="", version=as_text(folder.name))
    return Namespace(class_path=f"{CSVLogger.__module__}.{CSVLogger.__name__}", init_args=place)


def as_text(name: str) -> str:
    """Return the name of a folder so that the parser of a logger's options keeps it: it would read 2024 as a number."""
    plain = re.fullmatch(r"[A-Za-z][\w.-]*", name) and isinstance(yaml.safe_load(name), str)
    return name if plain else f"./{name}"
