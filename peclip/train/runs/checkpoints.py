"""Write the checkpoints of a run safely: ``last.ckpt``, from which it resumes, the one before it, and the best one."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from peclip.errors import InputError
from peclip.files import file_errors, move
from peclip.model.io.checkpoint import within
from peclip.model.torch_file import read_checkpoint
from peclip.train.runs.checkpoint_io import LAST, NEXT, SyncedIO, in_background
from peclip.train.runs.checkpoint_types import check_states
from peclip.train.runs.clips import same_batches, split_digests

PREVIOUS = "previous.ckpt"
"""File name of the checkpoint that was ``last.ckpt`` before."""

START = "start.ckpt"
"""File name of the copy of a single checkpoint that a run continues; removed when the run has written its first one."""

FINDERS = (".lr_find_*.ckpt", ".scale_batch_size_*.ckpt")
"""Names of the copies of the state that Lightning's finders of a rate and of a batch size make while they search."""

ENDED = "ended"
"""Entry of a checkpoint's state: whether a callback, such as EarlyStopping, had ended the training."""


class BestCheckpoint(ModelCheckpoint):
    """ModelCheckpoint that re-roots saved paths when the run folder has moved."""

    _step = 0

    def file_exists(self, filepath: str | Path, trainer: Trainer) -> bool:
        """Return whether a file exists, or is still being written."""
        if isinstance(files := trainer.strategy.checkpoint_io, SyncedIO):
            files.finish()
        return super().file_exists(filepath, trainer)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Save after a number of steps, if one is set, while the training continues."""
        with in_background(trainer):
            super().on_train_batch_end(trainer, *args)

    def on_train_epoch_end(self, trainer: Trainer, *args: Any) -> None:
        """Save after an epoch without validation, while the training continues."""
        with in_background(trainer):
            super().on_train_epoch_end(trainer, *args)

    def on_validation_end(self, trainer: Trainer, *args: Any) -> None:
        """Save if the scores are better, while the training continues."""
        with in_background(trainer):
            super().on_validation_end(trainer, *args)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note the step at which a run resumes."""
        self._step = checkpoint["global_step"]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of an interrupted run.

        Without its best checkpoint, selection starts again. It also does if that file is of a later step: the run repeats that
        step, so that the file does not hold the weights that had the recorded score.

        Raises:
            InputError: the best checkpoint is damaged, or holds an entry of another type than peclip writes.
        """

        def moved(path: str) -> str:
            # Joined as Lightning joins it, which under another path would take the best checkpoint for an older one, and remove it.
            return os.path.join(str(self.dirpath), within(path, str(state_dict.get("dirpath")))) if path else path

        known = {moved(path): score for path, score in state_dict["best_k_models"].items()}
        best = Path(moved(state_dict["best_model_path"]))
        if not best.is_file():
            return
        content = read_checkpoint(best)
        check_states(content, str(best))  # it is evaluated at the end
        if content.get("global_step", 0) > self._step:
            return
        paths = {
            name: moved(state_dict[name]) for name in ("best_model_path", "kth_best_model_path", "last_model_path")
        }
        super().load_state_dict({**state_dict, **paths, "best_k_models": known, "dirpath": self.dirpath})


def best_checkpoint(trainer: Trainer) -> BestCheckpoint | None:
    """Return peclip's callback that writes the best checkpoint of a run; None if there is none."""
    return next((each for each in trainer.checkpoint_callbacks if isinstance(each, BestCheckpoint)), None)


class LastCheckpoint(Checkpoint):
    """Writes ``checkpoints/last.ckpt``, from which an interrupted run resumes, and keeps the one before as ``previous.ckpt``.

    It is written after every epoch, every few steps within an epoch, and when the training is stopped on request. A new
    checkpoint takes the place of ``last.ckpt`` when it is on disk, the metrics of its step are logged, and a validation that is
    due after its step has ended: a resumed run does not repeat them, so they must not be lost.

    Args:
        every_n_steps: optimizer steps between two checkpoints within an epoch; 0 writes only after epochs.

    Attributes:
        options: options of the run, by section, which its checkpoints hold; empty if they are not known.

    Raises:
        InputError: ``every_n_steps`` is below 0.
    """

    def __init__(self, every_n_steps: int = 1000) -> None:
        if every_n_steps < 0:
            raise InputError(f"every_n_steps is {every_n_steps}, expected 0 or more", "every_n_steps")
        self.every_n_steps = every_n_steps
        self.folder = Path()
        self.options: Mapping[str, Any] = {}
        self._saved = 0
        self._is_new = self._is_due = self._is_logged = self._ended = False
        self._data: dict[str, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Create the folder of checkpoints, which identifies a run, and remove incomplete files."""
        if stage == "fit" and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self.folder = Path(trainer.log_dir or trainer.default_root_dir) / "checkpoints"
            if trainer.is_global_zero:
                self.folder.mkdir(parents=True, exist_ok=True)
                # A run was killed while it wrote, or while one of Lightning's finders had a copy of the state in its folder.
                copies = (found for name in FINDERS for found in self.folder.parent.glob(name))
                for incomplete in (*self.folder.glob(".*.ckpt"), *copies):
                    incomplete.unlink()

    def state_dict(self) -> dict[str, Any]:
        """Return the options, batches and clips, which must stay the same when the run resumes, and whether the training had ended."""
        return {"options": dict(self.options), ENDED: self._ended, **self._data}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the batches and the clips of the run, and let no other callback write ``last.ckpt`` (Lightning's ``save_last``)."""
        self._saved = trainer.global_step
        if trainer.is_global_zero and (self.folder / LAST).exists():
            self._drop_start()  # the run was killed before it could remove the copy
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and Path(callback.dirpath or "") == self.folder:
                callback.save_last = False
        data = trainer.datamodule  # type: ignore[attr-defined]
        self._data = {"order": same_batches(trainer, data), "clips": split_digests(data)}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Publish the checkpoint of an earlier step once it is on disk."""
        self._publish(trainer, is_urgent=False)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save every ``every_n_steps`` steps, except after the last one of an epoch, which has its own checkpoint."""
        step = trainer.global_step
        if self.every_n_steps and step % self.every_n_steps == 0 and step != self._saved and not ends_epoch(trainer):
            self._save(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Postpone the checkpoint of this step until after the validation."""
        self._is_due, self._is_new = self._is_new, False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save a postponed checkpoint, or that of a training that stops now; not after the last step of an epoch."""
        stops = trainer.received_sigterm and _is_between_steps(trainer)
        within = not trainer.sanity_checking and not ends_epoch(trainer)
        if trainer.state.fn == TrainerFn.FITTING and within and (self._is_due or stops):
            self._save(trainer)
            self._publish(trainer, is_urgent=False)
        self._is_due = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Publish the checkpoint of the epoch before once it is on disk."""
        self._publish(trainer, is_urgent=False)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after every epoch."""
        self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Publish the checkpoint of the last epoch."""
        self._publish(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save when the training is stopped on request, unless gradients are being accumulated; publish a checkpoint that is due."""
        if isinstance(exception, SIGTERMException) and trainer.state.fn == TrainerFn.FITTING:
            if trainer.training and _is_between_steps(trainer) and trainer.global_step != self._saved:
                self._save(trainer)
            self._publish(trainer)
        self._move(trainer)

    def _save(self, trainer: Trainer) -> None:
        """Write the next ``last.ckpt``."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self._move(trainer)
        self._ended = trainer.should_stop
        with in_background(trainer):
            trainer.save_checkpoint(self.folder / NEXT)
        self._saved, self._is_new = trainer.global_step, True

    def _publish(self, trainer: Trainer, is_urgent: bool = True) -> None:
        """Let a new checkpoint, if there is one, take the place of ``last.ckpt``; if not urgent, only if it is on disk already."""
        if self._is_new:
            self._is_new, self._is_logged = False, True
            for logger in trainer.loggers:
                logger.save()  # metrics of the steps before a checkpoint are not logged again
        files = trainer.strategy.checkpoint_io
        if is_urgent or not isinstance(files, SyncedIO) or files.is_done:
            self._move(trainer)

    def _move(self, trainer: Trainer) -> None:
        """Wait for the checkpoint whose step is logged, if there is one, and rename it to ``last.ckpt``."""
        if not self._is_logged:
            return
        self._is_logged = False
        if isinstance(files := trainer.strategy.checkpoint_io, SyncedIO):
            files.finish()
        last, following = self.folder / LAST, self.folder / NEXT
        if trainer.is_global_zero and following.exists():
            with file_errors():
                if last.exists():
                    last.replace(self.folder / PREVIOUS)
                move(following, last)
                self._drop_start()

    def _drop_start(self) -> None:
        """Remove the copy of the checkpoint that the run continued, because the run has written its own."""
        (self.folder.parent / START).unlink(missing_ok=True)


def ends_epoch(trainer: Trainer) -> bool:
    """Return whether an epoch ends after this batch: it is the last one, or ``max_steps`` or a callback ends the training.

    A run that resumed from a checkpoint of this batch would train no further, and not log the results of the epoch.
    """
    loop = trainer.fit_loop.epoch_loop
    return bool(loop.batch_progress.is_last_batch or loop.done)


def _is_between_steps(trainer: Trainer) -> bool:
    """Return whether no gradients are accumulated for the next step."""
    return bool(trainer.fit_loop.epoch_loop.batch_progress.current.completed % trainer.accumulate_grad_batches == 0)
