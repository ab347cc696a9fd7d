"""Time a training and the waits of its steps."""

import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer

from peclip.results.training import STAGES, Training, Waits, write_training
from peclip.terminal import say
from peclip.train.callbacks.dashboard import Dashboard, Speed
from peclip.train.runs.checkpoint_io import SyncedIO


class Stages:
    """Divides time among stages. What happens within another stage counts for the inner one alone.

    Attributes:
        seconds: by stage.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._running: list[str] = []
        self._since = 0.0
        self._timed: list[tuple[Any, str]] = []

    def enter(self, stage: str) -> None:
        """Begin a stage."""
        self._settle()
        self._running.append(stage)

    def leave(self, stage: str) -> None:
        """End a stage, if it is the running one."""
        self._settle()
        if self._running[-1:] == [stage]:
            self._running.pop()

    def time(self, owner: Any, method: str, stage: str) -> None:
        """Count every call of a method of an object for a stage, until :meth:`release`."""
        original: Callable[..., Any] = getattr(owner, method)

        @wraps(original)
        def timed(*args: Any, **options: Any) -> Any:
            self.enter(stage)
            try:
                return original(*args, **options)
            finally:
                self.leave(stage)

        setattr(owner, method, timed)
        self._timed.append((owner, method))

    def leave_before(self, owner: Any, method: str, stage: str) -> None:
        """End a stage before every call of a method of an object, until :meth:`release`."""
        original: Callable[..., Any] = getattr(owner, method)

        @wraps(original)
        def called(*args: Any, **options: Any) -> Any:
            self.leave(stage)
            return original(*args, **options)

        setattr(owner, method, called)
        self._timed.append((owner, method))

    def release(self) -> None:
        """End the measurement: the methods are what they were."""
        self._settle()
        self._running.clear()
        while self._timed:
            delattr(*self._timed.pop())

    def _settle(self) -> None:
        now = time.perf_counter()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now


class TrainingTime(Callback):
    """Writes ``training.json``: duration of the training, what its steps waited for, device, and number of epochs.

    Checkpoints carry the times, so that they include those before an interruption. On a GPU, a step that is still computed
    is waited for by the stage that needs its result first.
    """

    def __init__(self) -> None:
        # It is not a Timer itself: beside a callback that is one, Lightning ignores trainer.max_time.
        self._timer, self._stages = Timer(), Stages()

    def state_dict(self) -> dict[str, Any]:
        """Return the times so far."""
        return {**self._timer.state_dict(), "waits": dict(self._stages.seconds)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the times of an interrupted run; a checkpoint of peclip 0.1.0 has no waits."""
        self._timer.load_state_dict(state_dict)
        waits = state_dict.get("waits", {})
        self._stages.seconds |= {stage: waits[stage] for stage in STAGES if stage in waits}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, and watch those that a step may wait for."""
        self._timer.on_train_start(trainer, pl_module)
        self._stages.time(trainer, "save_checkpoint", "checkpoints")
        files = trainer.strategy.checkpoint_io
        if isinstance(files, SyncedIO):  # an earlier one may still be on its way to the disk
            self._stages.time(files, "finish", "checkpoints")
        self._stages.time(trainer.fit_loop.epoch_loop.val_loop, "run", "validation")
        if data := trainer.datamodule:  # type: ignore[attr-defined]  # augmentation is work of the device, and no wait
            self._stages.leave_before(data, "on_after_batch_transfer", "input")
        for logger in trainer.loggers:
            for method in ("log_metrics", "save"):
                self._stages.time(logger, method, "logging")
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Dashboard | Speed):
                for method in (
                    "on_train_batch_end",
                    "on_validation_batch_end",
                    "on_validation_epoch_end",
                    "on_validation_end",
                ):
                    self._stages.time(callback, method, "logging")
        self._stages.enter("input")  # a run that resumes in mid-epoch starts no epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for the first batch."""
        self._stages.leave("input")
        self._stages.enter("input")

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        """End the wait: the batch is there."""
        self._stages.leave("input")

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Wait for the next batch."""
        self._stages.enter("input")

    def on_train_epoch_end(self, trainer: Trainer, *args: Any) -> None:
        """There is no further batch to wait for."""
        self._stages.leave("input")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End the measurement of a training that is interrupted."""
        self._stages.release()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write ``training.json`` and say what the steps waited for, on rank 0."""
        self._timer.on_train_end(trainer, pl_module)
        self._stages.release()
        folder = trainer.log_dir  # a collective call: all ranks make it
        if not folder or not trainer.is_global_zero:
            return
        device, seconds = pl_module.device, self._timer.time_elapsed()
        waits = Waits(**{stage: round(value, 3) for stage, value in self._stages.seconds.items()})
        training = Training(
            seconds=round(seconds, 3),
            epochs=trainer.current_epoch,
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            devices=trainer.world_size,
            waits=waits,
        )
        write_training(Path(folder), training)
        waited = ", ".join(f"{share:.1%} for {stage}" for stage, share in waits.shares(seconds).items())
        say(f"Training took {seconds:,.0f} s, of which its steps waited {waited}")
