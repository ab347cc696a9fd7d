"""What the ranks of a training on several devices do together: the mean of their losses, and their end."""

import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from subprocess import Popen, TimeoutExpired
from typing import Any, TypeVar

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor, distributed

from peclip.errors import InputError

Item = TypeVar("Item")

LOST = re.compile(r"gloo|Connection (closed|reset) by peer|NCCL|ProcessGroup|TCPStore|DistStore")
"""What an error says where another rank is gone."""

GRACE = 4.0
"""Seconds that a process which is gone for others may take to end; Lightning looks for one every 5 seconds."""

TERMINATED = 143
"""Status after SIGTERM or USR1, as shells have it."""

_started: list[Popen[bytes]] = []
"""The other ranks of this machine, where Lightning started them: once, for all trainings of a cross-validation."""


def mean_over_ranks(total: Tensor, clips: Tensor) -> Tensor:
    """Return the mean of a loss over the clips of all ranks, which may have different numbers of them.

    The gradients that it gives on each rank have as their mean over the ranks, which DDP and FSDP take, those of one
    process with all clips. The sum and the number travel in one small message, for whose answer a GPU's host does not wait.

    Args:
        total: (), sum of the loss over this rank's clips.
        clips: (), int64, their number.
    """
    if not _several():
        return total / clips.clamp(min=1)
    of_all = torch.stack([total.detach(), clips.to(total)])
    distributed.all_reduce(of_all)
    number = of_all[1].clamp(min=1)
    share = total * (distributed.get_world_size() / number)
    return share + (of_all[0] / number - share).detach()


def of_all_ranks(items: list[Item]) -> list[Item]:
    """Return the items of all ranks, in their order. Every rank has to ask."""
    if not _several():
        return items
    shares: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(shares, items)
    return [item for share in shares for item in share]


def told_by_rank_zero(trainer: Trainer, error: BaseException, status: int) -> BaseException:
    """Return what ends a rank when all of them end for the same reason: the error on rank 0, silence on the others.

    Args:
        trainer: what ran.
        error: for rank 0.
        status: of the others. Where Lightning started them it is 0, because at any other Lightning would kill rank 0
            while it still speaks.
    """
    if trainer.is_global_zero:
        return error
    environment = getattr(trainer.strategy, "cluster_environment", None)
    return SystemExit(0 if isinstance(environment, LightningEnvironment) and trainer.local_rank else status)


@contextmanager
def ended_together(trainer: Trainer) -> Iterator[None]:
    """Let a rank that fails end all ranks, within seconds, with what it says as the only line.

    On one machine, rank 0 ends the others that Lightning started for it; if one of them fails, it notices at the next
    exchange of gloo, or, where it waits for a GPU, is killed by Lightning. SLURM and torchrun do both themselves.

    Raises:
        InputError: another rank is gone and has not said why.
        SIGTERMException: another rank was asked to end.
        SystemExit: another rank is gone and has said why, or rank 0 will.
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
    """Return what ends this rank when another one is gone: rank 0 tells how, unless that one has told why."""
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
    if any(statuses.values()):
        return SystemExit(max(statuses.values()))
    return InputError(f"another of the {trainer.world_size} ranks is gone: what it wrote tells why")


def _others(trainer: Trainer) -> list[Popen[bytes]]:
    """Return the other ranks of this machine, where it is rank 0 and Lightning started them for it."""
    _started.extend(process for process in getattr(trainer.strategy.launcher, "procs", []) if process not in _started)
    return _started


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()
