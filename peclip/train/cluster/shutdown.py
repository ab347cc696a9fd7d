"""End all ranks of a training together, within seconds and with one line that gives the reason."""

import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from subprocess import Popen, TimeoutExpired

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from peclip.errors import INTERRUPTED, InputError

LOST = re.compile(r"gloo|Connection (closed|reset) by peer|NCCL|ProcessGroup|TCPStore|DistStore")
"""Messages of errors by which a rank notices that another rank has ended."""

GRACE = 4.0
"""Seconds to wait for the exit of a rank that others have lost; Lightning checks every 5 seconds."""

TERMINATED = 143
"""Exit status after SIGTERM or USR1, as shells define it."""

_started: list[Popen[bytes]] = []
"""The other ranks of this machine, if Lightning started them; it does so once for all trainings of a cross-validation."""


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
