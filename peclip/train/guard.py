"""What ends a training: a loss that is no number, and signals of whoever runs the cluster."""

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from peclip.errors import InputError
from peclip.train.ranks import TERMINATED, of_all_ranks, told_by_rank_zero

SHOWN = 8
"""Clips that a message names."""


class _Step(NamedTuple):
    """What is told of a step when its loss turns out to be no number."""

    number: int
    epoch: int
    loss: Tensor
    clips: list[int]
    rates: list[float]


class FiniteLoss(Callback):
    """Stops a training whose loss is NaN or infinite, before a checkpoint of it is written.

    The loss of a step is looked at when the next one is under way, so that the device does not wait for the answer. It is
    the mean over all ranks, so all of them stop, and rank 0 says why.
    """

    def __init__(self) -> None:
        self._steps: list[_Step] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note the rates that the step uses: they have changed when it is over."""
        self._rates = [group["lr"] for group in trainer.optimizers[0].param_groups]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the step before, and keep this one.

        Raises:
            InputError: the loss was no number.
        """
        self._look(trainer)
        clips = [draw.clip for draw in batch["draws"]]
        loss = outputs["loss"].detach()
        self._steps = [_Step(trainer.global_step, trainer.current_epoch, loss, clips, self._rates)]

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the last step."""
        self._look(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Let no checkpoint be written whose weights, or whose loss, are no numbers.

        Raises:
            InputError: they are not.
        """
        self._look(trainer, keep=True)
        trained = [weight for weight in pl_module.parameters() if weight.requires_grad]
        if trained and not torch.stack([weight.isfinite().all() for weight in trained]).all():
            self._stop(trainer, "the gradients were not finite, and the weights are not")

    def _look(self, trainer: Trainer, keep: bool = False) -> None:
        if self._steps and not self._steps[0].loss.isfinite():
            self._stop(trainer, f"the loss is {float(self._steps[0].loss)}")
        if not keep:
            self._steps = []

    def _stop(self, trainer: Trainer, what: str) -> NoReturn:
        clips = of_all_ranks(self._steps[0].clips) if self._steps else []
        raise told_by_rank_zero(trainer, InputError(self._message(trainer, what, clips)), status=2)

    def _message(self, trainer: Trainer, what: str, clips: list[int]) -> str:
        if not self._steps:
            return f"{what}: nothing is saved"
        step, table = self._steps[0], trainer.datamodule.splits.train.table  # type: ignore[attr-defined]
        rates = ", ".join(f"{rate:.3g}" for rate in step.rates)
        return (
            f"{what} in step {step.number} (epoch {step.epoch + 1}) with the learning rates {rates} and the clips "
            f"{_listed([table['path'].iat[clip] for clip in clips])}: the last checkpoint before it is kept. Lower "
            "the rates, or look at these clips with peclip check"
        )


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + rest


class Signals:
    """What SIGTERM does, in the place of Lightning's own handling of it.

    Lightning's handler sends something to the other ranks at once. If one of them is in another exchange just then, both
    wait for ever. Here it only notes the signal, on any of the ranks, which agree on it between two steps.
    An evaluation, which has nothing to save, ends at once.

    Attributes:
        asked: whether this rank was asked to end.
        received_sigterm: whether all ranks end now, at the same place: what Lightning's loops look at.
    """

    def __init__(self) -> None:
        self.asked = self.received_sigterm = False
        self.trainer: Trainer | None = None
        self._before: Any = None

    def register_signal_handlers(self) -> None:
        """Take the signal over; Lightning calls it when a training or an evaluation starts."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        if self.asked:
            self._note()

    def teardown(self) -> None:
        """Give the signal back; Lightning calls it at the end."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None

    def _note(self, *_: Any) -> None:
        self.asked = True
        if self.trainer and self.trainer.state.fn != TrainerFn.FITTING:
            raise SIGTERMException


class AskedToEnd(Callback):
    """Ends a training that was asked to end, on all ranks between the same two steps; a validation is run to its end."""

    def __init__(self) -> None:
        self._signals = Signals()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take over from Lightning."""
        self._signals.trainer = trainer
        trainer._signal_connector = self._signals  # type: ignore[assignment]  # there is no option for it

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Agree on whether to end: Lightning does it when a validation that is due is over."""
        self._agree(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the validation run: the ranks do not have the same number of its batches."""
        self._signals.received_sigterm = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Agree on whether to end."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._agree(trainer)

    def _agree(self, trainer: Trainer) -> None:
        self._signals.received_sigterm = trainer.strategy.reduce_boolean_decision(self._signals.asked, all=False)


def asked_to_end(trainer: Trainer, advice: str | None) -> BaseException:
    """Return what ends this process, and say on rank 0 that it was asked to end.

    Args:
        trainer: what ran.
        advice: how it can be gone on with, if it can.
    """
    if trainer.is_global_zero:
        print(f"peclip: asked to end{f': {advice}' if advice else ''}", file=sys.stderr)
    ending = SystemExit(TERMINATED)
    return told_by_rank_zero(trainer, ending, TERMINATED) if trainer.received_sigterm else ending


@contextmanager
def usr1_as_sigterm() -> Iterator[None]:
    """Let SLURM's USR1, the notice before the time of a job is up, end a training as SIGTERM does.

    Lightning would save in the middle of whatever the step is doing, into the working folder that all jobs share.
    """
    before = signal.signal(signal.SIGUSR1, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)
