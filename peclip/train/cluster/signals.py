"""Signals of whoever runs the cluster: SIGTERM and SIGUSR1 stop a training between two steps."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from peclip.train.cluster.shutdown import TERMINATED, told_by_rank_zero
from peclip.train.private_hooks import handle_signals_with


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
        handle_signals_with(trainer, self._signals)

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
