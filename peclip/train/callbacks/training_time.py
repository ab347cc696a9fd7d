"""Time a training and the waits of its steps."""

import resource
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.loggers import Logger

from peclip.data.batch import Batch
from peclip.results.training import STAGES, Training, Waits, write_training
from peclip.terminal import say
from peclip.train.callbacks.dashboard import Dashboard
from peclip.train.callbacks.evaluation import is_logged
from peclip.train.private_hooks import writer_of_rows
from peclip.train.runs.boards import boards_of, show_numbers
from peclip.train.runs.checkpoint_io import SyncedIO

FETCHING = "train_dataloader_next"
"""End of the name of the action that Lightning's profiler sees when the loop asks for a batch."""


class Stages:
    """Divides time among stages. A stage within another one counts for the inner stage only.

    Attributes:
        seconds: seconds spent in each stage, by its name.
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

    def before(self, owner: Any, method: str, act: Callable[..., None]) -> None:
        """Do something before every call of a method of an object, with its arguments, until :meth:`release`."""
        original: Callable[..., Any] = getattr(owner, method)

        @wraps(original)
        def called(*args: Any, **options: Any) -> Any:
            act(*args, **options)
            return original(*args, **options)

        setattr(owner, method, called)
        self._timed.append((owner, method))

    def release(self) -> None:
        """End the measurement, and restore the methods."""
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

    Checkpoints carry the times, so that they include those before an interruption. Time spent waiting for the GPU counts only
    when results are logged; it then counts as logging.
    """

    def __init__(self) -> None:
        # This class does not derive from Timer: if a callback does, Lightning ignores trainer.max_time.
        self._timer, self._stages = Timer(), Stages()

    def waited(self, stage: str) -> float:
        """Return the seconds that steps have waited for a stage so far."""
        return self._stages.seconds[stage]

    def state_dict(self) -> dict[str, Any]:
        """Return the times so far."""
        return {**self._timer.state_dict(), "waits": dict(self._stages.seconds)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the times of an interrupted run; a checkpoint of peclip 0.1.0 has no waits."""
        self._timer.load_state_dict(state_dict)
        waits = state_dict.get("waits", {})
        self._stages.seconds |= {stage: waits[stage] for stage in STAGES if stage in waits}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, and time everything that a step may wait for."""
        self._timer.on_train_start(trainer, pl_module)
        self._stages.time(trainer, "save_checkpoint", "checkpoints")
        files = trainer.strategy.checkpoint_io
        if isinstance(files, SyncedIO):  # an earlier checkpoint may still be on its way to the disk
            self._stages.time(files, "finish", "checkpoints")
        self._stages.time(trainer.fit_loop.epoch_loop.val_loop, "run", "validation")
        self._stages.before(trainer.profiler, "start", self._begins)  # type: ignore[attr-defined]
        if data := trainer.datamodule:  # type: ignore[attr-defined]  # augmentation is work of the device, and no wait
            self._stages.before(data, "on_after_batch_transfer", lambda *_, **__: self._stages.leave("input"))
        self._stages.time(*writer_of_rows(trainer), "logging")
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
        """Wait for the first batch, and for the workers that read it."""
        self._stages.leave("input")
        self._stages.enter("input")

    def _begins(self, action: str) -> None:
        """Wait for a batch, if Lightning's loop begins to ask for one."""
        if action.endswith(FETCHING):
            self._stages.leave("input")
            self._stages.enter("input")

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        """End the wait: the batch is there."""
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


class Speed(Callback):
    """Shows the speed of a training: clips a second, the share of the time that waits for input, and memory.

    Args:
        times: callback that measures the waits of the same training.
    """

    def __init__(self, times: TrainingTime) -> None:
        self._times = times
        self._boards: list[Logger] = []
        self._ended: float | None = None
        self._seen = self._waited = self._passed = 0.0
        self._clips = 0
        self._shown = -1  # step at which the speed was last shown

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the loggers."""
        self._boards = boards_of(trainer.loggers) if trainer.is_global_zero else []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Show the means since the last time."""
        now, seen = time.perf_counter(), self._times.waited("input")
        if self._ended is not None:
            self._passed += now - self._ended
            self._waited += seen - self._seen
            self._clips += len(batch.clip) * trainer.world_size
        self._ended, self._seen = now, seen
        step = trainer.global_step - 1  # several batches of one step are one, where gradients are accumulated
        if self._boards and self._passed and step != self._shown and is_logged(trainer, step + 1):
            speed = {
                "speed/clips_per_second": self._clips / self._passed,
                "speed/share_waiting_for_input": self._waited / self._passed,
                "speed/memory_gb": _memory(trainer) / 1e9,
            }
            show_numbers(self._boards, speed, step)
            self._shown = step
            self._waited = self._passed = 0.0
            self._clips = 0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do not count validation and checkpoints as waiting."""
        self._ended = None

    on_validation_start = on_train_epoch_end


def _memory(trainer: Trainer) -> float:
    """Return the largest memory so far in bytes: of the GPU if there is one, else of the process."""
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
