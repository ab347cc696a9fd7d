"""End a training: between two steps on SIGTERM and SIGUSR1, and all ranks together, within seconds and with one line that says why."""

import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from subprocess import Popen, TimeoutExpired
from typing import Any

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from peclip.errors import INTERRUPTED, InputError
from peclip.terminal import say
from peclip.train.cluster.ranks import largest
from peclip.train.private_hooks import handle_signals_with

LOST = re.compile(r"gloo|Connection (closed|reset) by peer|NCCL|ProcessGroup|TCPStore|DistStore")
"""Messages of errors by which a rank notices that another rank has ended."""

GRACE = 4.0
"""Seconds to wait for the exit of a rank that others have lost; Lightning checks every 5 seconds."""

TERMINATED = 143
"""Exit status after SIGTERM or USR1, as shells define it."""

_started: list[Popen[bytes]] = []
"""The other ranks of this machine, if Lightning started them; it does so once for all trainings of a cross-validation."""

PAUSE = 1.0
"""Seconds after which the ranks ask each other again whether one of them was asked to end."""


def reported_by_rank_zero(trainer: Trainer, error: BaseException, status: int) -> BaseException:
    """Return the exception that ends a rank when all end for the same reason: the error on rank 0, an exit on the others.

    Args:
        trainer: trainer of the run.
        error: error that rank 0 reports.
        status: exit status of the other ranks. If Lightning started them it is 0, because Lightning would kill rank 0
            before it has printed the error at any other.
    """
    if trainer.is_global_zero:
        return error
    environment = getattr(trainer.strategy, "cluster_environment", None)
    return SystemExit(0 if isinstance(environment, LightningEnvironment) and trainer.local_rank else status)


@contextmanager
def ended_together(trainer: Trainer) -> Iterator[None]:
    """End all ranks within seconds if one fails; print only the message of that rank.

    On one machine, rank 0 ends the others that Lightning started for it; if one of them fails, it notices at the next
    exchange of gloo, or, if it waits for a GPU, is killed by Lightning. SLURM and torchrun end the ranks themselves.

    Raises:
        InputError: another rank has ended without a message.
        SIGTERMException: another rank was asked to end.
        KeyboardInterrupt: another rank was interrupted.
        SystemExit: another rank has ended with a message, or rank 0 will print one.
    """
    whole = False
    try:
        yield
        whole = True
    except RuntimeError as error:
        if trainer.world_size > 1 and LOST.search(str(error)):
            raise _lost(trainer) from error
        raise
    finally:
        for process in _others(trainer):
            if not whole:
                process.kill()


def _lost(trainer: Trainer) -> BaseException:
    """Return the exception that ends this rank after another one: rank 0 reports it, unless that rank printed its error."""
    if not trainer.is_global_zero:
        return SystemExit(1)
    deadline = time.monotonic() + GRACE
    statuses = {}
    for rank, process in enumerate(_others(trainer), start=1):
        with suppress(TimeoutExpired):
            statuses[rank] = process.wait(max(deadline - time.monotonic(), 0))
    for rank, status in statuses.items():
        if status < 0:
            name = signal.Signals(-status).name
            return InputError(f"rank {rank} of {trainer.world_size} was ended by {name}: memory may have run out")
    if TERMINATED in statuses.values():
        return SIGTERMException(TERMINATED)
    if INTERRUPTED in statuses.values():
        return KeyboardInterrupt()
    if any(statuses.values()):
        return SystemExit(max(statuses.values()))
    return InputError(f"another of the {trainer.world_size} ranks has ended: see its output for the reason")


def _others(trainer: Trainer) -> list[Popen[bytes]]:
    """Return the other ranks of this machine, if this is rank 0 and Lightning started them."""
    _started.extend(process for process in getattr(trainer.strategy.launcher, "procs", []) if process not in _started)
    return _started


class Signals:
    """Handler of SIGTERM that replaces Lightning's own.

    Lightning's handler communicates with the other ranks at once. If one of them is in another exchange, both wait forever.
    This one only records the signal, and the ranks agree on it between two steps. An evaluation, which has nothing to save,
    ends at once.

    Attributes:
        asked: whether this rank was asked to end.
        received_sigterm: whether all ranks end now, at the same step; Lightning's loops read it.
    """

    def __init__(self) -> None:
        self.asked = self.received_sigterm = False
        self.trainer: Trainer | None = None
        self._before: Any = None

    def register_signal_handlers(self) -> None:
        """Install the handler; Lightning calls it when a training or an evaluation starts."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        if self.asked:
            self._note()

    def teardown(self) -> None:
        """Restore the previous handler; Lightning calls it at the end."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None

    def _note(self, *_: Any) -> None:
        self.asked = True
        if self.trainer and self.trainer.state.fn != TrainerFn.FITTING:
            raise SIGTERMException


class AskedToEnd(Callback):
    """Stops a training on request, on all ranks after the same step; a running validation is completed first.

    The ranks ask each other about once a second, not at every step: each waits for the others meanwhile, which would hold up a
    GPU. They also agree on how many steps to wait before asking again.
    """

    def __init__(self) -> None:
        self._signals = Signals()
        self._since = 0.0  # time at which the ranks last asked each other
        self._steps = 0  # number of steps since then
        self._pause = 1  # steps until they ask again, on all ranks the same

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Replace Lightning's signal handler, and its question to all ranks at every step."""
        self._signals.trainer = trainer
        handle_signals_with(trainer, self._signals)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Agree between ranks on whether to stop, if it is time; Lightning stops after a validation that is due."""
        self._steps += 1
        if self._steps >= self._pause:
            self._agree(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Postpone the stop until after the validation, in which ranks have different numbers of batches."""
        self._signals.received_sigterm = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Agree between ranks on whether to stop after a validation within the training."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._agree(trainer)

    def _agree(self, trainer: Trainer) -> None:
        now = time.monotonic()
        steps = int(self._steps * PAUSE / max(now - self._since, 1e-9)) if trainer.world_size > 1 else 1
        asked, self._pause = largest([self._signals.asked, max(steps, 1)], trainer.strategy.root_device)
        # A training that a callback such as EarlyStopping ends now ends its epoch, too; the evaluation after it then ends at once.
        # Where min_epochs lets it continue after the last batch of an epoch, it ends at the next question.
        is_over = trainer.should_stop and trainer.fit_loop.epoch_loop.done
        self._signals.received_sigterm = bool(asked) and not is_over
        self._since, self._steps = time.monotonic(), 0


def asked_to_end(trainer: Trainer, advice: str | None) -> BaseException:
    """Return the exception that ends this process, and report the stop on rank 0.

    Args:
        trainer: trainer of the training or evaluation.
        advice: how to resume, if possible.
    """
    if trainer.is_global_zero:
        say(f"peclip: asked to end{f': {advice}' if advice else ''}", error=True)
    ending = SystemExit(TERMINATED)
    return reported_by_rank_zero(trainer, ending, TERMINATED) if trainer.received_sigterm else ending


@contextmanager
def usr1_as_sigterm() -> Iterator[None]:
    """Handle SLURM's USR1, its notice before the time limit of a job, like SIGTERM.

    Lightning would save in the middle of a step, into the working folder that all jobs share.
    """
    before = signal.signal(signal.SIGUSR1, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


@contextmanager
def interrupted_by_ctrl_c(trainer: Trainer) -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C, as Python does: Lightning ends the process with status 1, and then ignores Ctrl-C.

    Raises:
        KeyboardInterrupt: in place of Lightning's SystemExit, on rank 0.
        SystemExit: the same on another rank, with the status by which rank 0 knows why it has ended.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise (error.__context__ if trainer.is_global_zero else SystemExit(INTERRUPTED)) from None
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)
