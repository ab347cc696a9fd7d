"""Name the folder of a run, and save its configuration there.

A training is ``runs/NAME/version_N``. Evaluations of its model are below it, as ``test_0``, ``test_1``, ``predict_0``;
those of any other model are ``runs/NAME/test_N``. Neither is mistaken for a training.
"""

from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger

from peclip.errors import InputError

RUNS = "runs"

VERSION = "version"
"""Stem of the folders of trainings; that of an evaluation is the name of its command."""


class SaveConfig(SaveConfigCallback):
    """Saves the configuration of a run with the labels that the data gave, so that it can be used without them."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Add the labels to the configuration, drop the paths of this run, and save it."""
        self.config.data.labels = trainer.datamodule.labels
        # The folder of this run is not an option of the next one.
        loggers = self.config.trainer.logger
        if isinstance(loggers, list):
            self.config.trainer.logger = [logger for logger in loggers if not is_own(logger, trainer)] or None
        if self.config.trainer.default_root_dir == trainer.log_dir:
            self.config.trainer.default_root_dir = None
        for option in ("folder", "out", "ckpt_path", "trust"):
            self.config.pop(option, None)
        if self.config.get("init_from") is None:  # evaluations take this file as well, and have no such option
            self.config.pop("init_from", None)
        super().setup(trainer, pl_module, stage)


def next_folder(parent: Path, stem: str) -> Path:
    """Return the next of the numbered folders ``STEM_0``, ``STEM_1`` and so on; it is not created."""
    numbers = [number for path in parent.glob(f"{stem}_*") if (number := number_of(path)) >= 0]
    return parent / f"{stem}_{max(numbers, default=-1) + 1}"


def number_of(folder: Path) -> int:
    """Return the number of a numbered folder; -1 where it has none."""
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
        source: the trained model, None where there is none.
        command: ``test``, ``validate`` or ``predict``.
        runs: folder of the runs of this name, for a model without a run.
    """
    run = run_of_model(source) if source else None
    return next_folder(run or runs, command)


def check_new_folder(folder: Path, option: str) -> None:
    """Check that a run can be put into a folder.

    Args:
        folder: absent or empty.
        option: name of the option, for the message.

    Raises:
        InputError: it is a file, or not empty.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{option} {folder} is a file: name a new folder")
    if (folder / "config.yaml").exists():
        raise InputError(f"{option} {folder} holds a run already: name a new one")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{option} {folder} is not empty: name a new one")


def own_logger(folder: Path) -> Namespace:
    """Return the CSV logger of a run, in the form that it has in a configuration."""
    place = Namespace(save_dir=str(folder.parent), name="", version=folder.name)
    return Namespace(class_path=f"{CSVLogger.__module__}.{CSVLogger.__name__}", init_args=place)


def is_own(logger: Namespace, trainer: Any) -> bool:
    """Return whether a logger of a configuration is the one that :func:`own_logger` has added for a trainer's run."""
    return bool(trainer.log_dir) and logger == own_logger(Path(trainer.log_dir))
