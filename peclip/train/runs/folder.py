"""Name the folder of a run, and save its configuration there.

A training is ``runs/NAME/version_N``. Evaluations of its model are below it, as ``test_0``, ``test_1``, ``predict_0``;
those of any other model are ``runs/NAME/test_N``. Neither is mistaken for a training.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger

from peclip.errors import InputError
from peclip.files import is_temporary, write_text
from peclip.results.options import OPTIONS, Change, read_changes, write_changes

RUNS = "runs"

ALLOW = "allow_changes"
"""Option that allows a resumed run to have other options from its checkpoint on."""

VERSION = "version"
"""Stem of the folders of trainings; that of an evaluation is the name of its command."""


class SaveConfig(SaveConfigCallback):
    """Writes what a run records before it starts.

    ``config.yaml`` is written once, ``changes.yaml`` where a resumed run has other options.

    Args:
        parser: that of the subcommand.
        config: the options with which classes are built.
        given: the options as the user gave them, without the folder of the run.
        changes: those of a resumed run.
        further: writes more into the folder.
    """

    def __init__(
        self,
        parser: LightningArgumentParser,
        config: Namespace,
        given: Namespace,
        changes: Sequence[Change],
        further: Callable[[Path], None],
    ) -> None:
        super().__init__(parser, config)
        self.given, self.changes, self.further = given, tuple(changes), further

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Add the labels that the data gave, so that the configuration can be used without them, and write what is new."""
        folder = Path(trainer.log_dir or "")  # a collective call: all ranks make it
        if self.already_saved or not trainer.is_global_zero:
            return
        self.already_saved = True
        self.given.data.labels = trainer.datamodule.labels  # type: ignore[attr-defined]
        if not (folder / OPTIONS).exists():
            write_text(folder / OPTIONS, self.parser.dump(self.given, skip_none=False))
        if self.changes != read_changes(folder):
            write_changes(folder, self.changes)
        self.further(folder)


def given_options(options: Namespace) -> Namespace:
    """Return the options of a command line without those that belong to this run alone, such as its folder."""
    given = options.clone()
    for option in ("folder", "out", "ckpt_path", ALLOW):
        given.pop(option, None)
    if given.get("init_from") is None:  # evaluations take this file as well, and have no such option
        given.pop("init_from", None)
    return given


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
    if (folder / OPTIONS).exists():
        raise InputError(f"{option} {folder} holds a run already: name a new one")
    if folder.is_dir() and not all(map(is_temporary, folder.iterdir())):
        raise InputError(f"{option} {folder} is not empty: name a new one")


def own_logger(folder: Path) -> Namespace:
    """Return the CSV logger of a run, in the form that it has in a configuration."""
    place = Namespace(save_dir=str(folder.parent), name="", version=folder.name)
    return Namespace(class_path=f"{CSVLogger.__module__}.{CSVLogger.__name__}", init_args=place)
