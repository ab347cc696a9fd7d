"""Record the options of a run, and let a resumed run continue its record, its metrics and its loggers."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger

from peclip.data.datamodule import VideoDataModule
from peclip.errors import InputError
from peclip.files import copy_new, write_new_text, write_text
from peclip.results.options import CHANGES, OPTIONS, OptionChange, read_changes, write_changes
from peclip.terminal import say
from peclip.train.runs.checkpoints import START, LastCheckpoint
from peclip.train.runs.clips import BATCH
from peclip.train.runs.folder import ALLOW
from peclip.train.runs.loggers import Logs, identified, read_logs, rows_ahead, write_logs
from peclip.train.runs.record import (
    INIT_FROM,
    changes_on_resuming,
    check_same_clips,
    in_short,
    recorded_options,
    repeats_steps,
)
from peclip.train.runs.resume import Interrupted, keep_metrics, logged_rows
from peclip.train.runs.start_model import Origin
from peclip.train.runs.wandb_logger import Earlier

FINDERS = (BatchSizeFinder, LearningRateFinder)

OWN = ("folder", "out", "seeds", "ckpt_path", "trust", ALLOW)
"""Options that belong to one start of a command, not to the run."""


def given_options(options: Namespace) -> Namespace:
    """Return the options of a command line without those that belong to one start of it."""
    given = options.clone()
    for option in OWN:
        given.pop(option, None)
    if given.get(INIT_FROM) is None:  # evaluations take config.yaml as well, and have no such option
        given.pop(INIT_FROM, None)
    return given


class Recorder:
    """Records the options of a run in its folder and in its checkpoints, as the user gave them.

    Args:
        parser: parser of the subcommand, which writes options as YAML.
        options: options of the command line.
        resumed: run whose training continues, in its folder or in a new one; None for a new training or an evaluation.
        origin: trained model that a training starts from; None if it starts from none.

    Attributes:
        changes: options that differ from those that the run had before.
        logs: state of its loggers.
        earlier: rows that it had logged before it was interrupted; None for a new run.

    Raises:
        InputError: an option of the run may not change.
    """

    def __init__(
        self,
        parser: LightningArgumentParser,
        options: Namespace,
        resumed: Interrupted | None,
        origin: Origin | None = None,
    ) -> None:
        self._parser, self._resumed = parser, resumed
        self._origin = None if resumed and resumed.checkpoint else origin  # a checkpoint has the weights of that model
        self._given = given_options(options)
        self._complete: str | None = None
        self.has_begun = False
        """True if this process has begun the folder, which it may then remove if it fails."""
        self.changes: tuple[OptionChange, ...] = ()
        if resumed:
            self._keep_origin(resumed)
            defaults = self._plain(parser.get_defaults())
            self.changes = changes_on_resuming(resumed, self._plain(self._given), defaults, options[ALLOW])
        self.logs = Logs()
        self.earlier: Earlier | None = None
        if self._in_place:
            self.logs, self.earlier = self._read_earlier(self._in_place)

    def _keep_origin(self, resumed: Interrupted) -> None:
        """Keep the record of the model that a training started from: after its first checkpoint the command need not name it."""
        if resumed.in_place and resumed.checkpoint and self._given.get(INIT_FROM) is None:
            origin = recorded_options(resumed).get(INIT_FROM)
            if isinstance(origin, str):
                self._given[INIT_FROM] = origin

    @property
    def _in_place(self) -> Interrupted | None:
        return self._resumed if self._resumed and self._resumed.in_place else None

    @property
    def options(self) -> dict[str, Any]:
        """The options of the run as a configuration has them."""
        return self._plain(self._given)

    def loggers(self, listed: Sequence[Any], folder: Path) -> list[Any]:
        """Return the loggers of a training, besides that of metrics.csv, with the runs that they log to."""
        steps = self._in_place.steps if self._in_place else None
        named, self.logs = identified(listed, folder, self.logs, steps)
        return named

    def prepare(self, trainer: Trainer, data: VideoDataModule) -> None:
        """Let checkpoints hold the options; check that a run resumes with its own clips, and keep its metrics.

        Raises:
            InputError: the clips are others.
        """
        if self._resumed:
            _keep_what_was_found(self._resumed, trainer, data)
            check_same_clips(self._resumed, trainer, data)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, LastCheckpoint):
                callback.options = yaml.safe_load(self._text(data))
        if self._in_place and isinstance(trainer.logger, CSVLogger) and trainer.is_global_zero:
            keep_metrics(self._in_place, trainer.logger)  # no check can fail after this

    def check_origin(self, runs: Iterable[Path], advice: str) -> None:
        """Check that runs, by their folders, started from the weights that this one starts from, unless it has a checkpoint.

        Raises:
            InputError: a run started from other weights; the message ends with the advice.
        """
        if self._origin:
            for run in runs:
                self._origin.check_same(run, advice)

    def begin(self, trainer: Trainer, folder: Path, data: VideoDataModule) -> None:
        """Copy the checkpoint that a new run continues, and write its config.yaml, before anything else is written into its folder.

        Raises:
            InputError: another command has begun there since the folder was chosen.
        """
        is_quick = trainer.fast_dev_run  # type: ignore[attr-defined]
        if self._in_place or is_quick or not trainer.is_global_zero:
            return
        try:
            self._keep_start(folder)
            write_new_text(folder / OPTIONS, self._text(data))
        except FileExistsError as error:
            self._drop_start(folder)
            if self._given.get("shards") is None:  # several commands may complete shards together
                raise InputError(
                    f"{folder}: another command has begun there meanwhile: start this one again"
                ) from error
        else:
            self.has_begun = True

    def _keep_start(self, folder: Path) -> None:
        """Copy the single checkpoint that a new run continues; the run resumes from it if it is killed before its own first one.

        The original may be gone or replaced by then. The earlier changes of options are recorded only in its own run.
        """
        if self._resumed and self._resumed.checkpoint:
            copy_new(self._resumed.checkpoint, folder / START)
            self.has_begun = True
            write_changes(folder, self.changes)
            self._say_changes()

    def _drop_start(self, folder: Path) -> None:
        """Remove the copy from a folder in which another command has begun since."""
        if self.has_begun:
            self.has_begun = False
            for name in (START, CHANGES):
                (folder / name).unlink(missing_ok=True)

    def write(self, folder: Path, data: VideoDataModule) -> None:
        """Write config.yaml once, with the labels of the data so that it can be used without the data; write the origin and changes."""
        if not (folder / OPTIONS).exists():
            write_text(folder / OPTIONS, self._text(data))
        if self._origin:
            self._origin.write(folder)
        if self.changes != read_changes(folder):
            write_changes(folder, self.changes)
            self._say_changes()
        write_logs(folder, self.logs)

    def _text(self, data: VideoDataModule) -> str:
        """Return the options as config.yaml has them. They are dumped once, which takes long; checkpoints hold the same."""
        if self._complete is None:
            self._given.data.labels = data.labels
            self._complete = self._dump(self._given)
        return self._complete

    def _say_changes(self) -> None:
        """Print the options that change from now on."""
        for change in self.changes:
            if self._resumed and change.step == self._resumed.steps:
                say(
                    f"From step {change.step} on: {change.option} {in_short(change.now)} (was {in_short(change.before)})"
                )

    def _read_earlier(self, run: Interrupted) -> tuple[Logs, Earlier]:
        """Return what a run and its loggers had logged; rows that it repeats with the same options will be the same."""
        known, rows = read_logs(run.folder), logged_rows(run.folder)
        # A run that resumes from the copy of the checkpoint that it continues has logged all rows with the changes that it began with.
        begun = read_changes(run.folder) if run.at_start else ()
        changes = [change for change in self.changes if change not in begun]
        ahead = rows_ahead(rows, known, run.steps) if repeats_steps(run, changes) else ()
        kept = [row for row in rows if int(row["step"]) < run.steps]
        return replace(known, ahead=ahead), Earlier(kept, frozenset(ahead))

    def _plain(self, options: Namespace) -> dict[str, Any]:
        """Return options as a configuration has them."""
        plain: dict[str, Any] = yaml.safe_load(self._dump(options))
        return plain

    def _dump(self, options: Namespace) -> str:
        """Return options as YAML. They are not validated again: the defaults are incomplete if a custom module is expected."""
        text: str = self._parser.dump(options, skip_none=False, skip_validation=True)
        return text


def _keep_what_was_found(run: Interrupted, trainer: Trainer, data: VideoDataModule) -> None:
    """Keep the rates and the batch size that finders had found, and remove the finders, which would find others now."""
    finders = [callback for callback in trainer.callbacks if isinstance(callback, FINDERS)]  # type: ignore[attr-defined]
    for finder in finders if run.checkpoint else ():
        trainer.callbacks.remove(finder)  # type: ignore[attr-defined]
        if isinstance(finder, BatchSizeFinder) and BATCH in run.state.get("order", {}):
            data.batch_size = run.state["order"][BATCH] // trainer.world_size


class SaveConfig(SaveConfigCallback):
    """Lets a recorder write before a run begins.

    Args:
        parser: parser of the subcommand.
        config: options with which classes are built.
        recorder: recorder of the options as the user gave them.
    """

    def __init__(self, parser: LightningArgumentParser, config: Namespace, recorder: Recorder) -> None:
        super().__init__(parser, config)
        self._recorder = recorder

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write once, on rank 0."""
        folder = trainer.log_dir  # a collective call: all ranks make it
        if not self.already_saved and trainer.is_global_zero and folder:
            self._recorder.write(Path(folder), trainer.datamodule)  # type: ignore[attr-defined]
        self.already_saved = True
