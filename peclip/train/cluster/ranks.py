"""Combine values of all ranks of a training: the mean of their losses, the largest of their numbers, and lists; print on one."""

from typing import Any, TypeVar

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, distributed

from peclip.terminal import say

Item = TypeVar("Item")


@rank_zero_only
def say_once(line: str, error: bool = False) -> None:
    """Print a line on rank 0 alone; see :func:`peclip.terminal.say`."""
    say(line, error=error)


def mean_over_ranks(total: Tensor, clips: Tensor) -> Tensor:
    """Return the mean of a loss over the clips of all ranks, which may have different numbers of them.

    Its gradients, averaged over the ranks as DDP and FSDP do, are those of one process with all clips.
    Sum and number are exchanged in one small message, for which the host of a GPU does not wait.

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


def largest(numbers: list[int], device: torch.device) -> list[int]:
    """Return the largest of each number over the ranks. Every rank must call it, and waits for the others.

    Args:
        numbers: numbers of this rank; every rank has as many.
        device: device of the training, through which the ranks exchange numbers.
    """
    if not _several():
        return numbers
    of_all = torch.tensor(numbers, device=device)
    distributed.all_reduce(of_all, distributed.ReduceOp.MAX)
    found: list[int] = of_all.tolist()
    return found


def of_all_ranks(items: list[Item]) -> list[Item]:
    """Return the items of all ranks, in the order of the ranks. Every rank must call it."""
    if not _several():
        return items
    shares: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(shares, items)
    return [item for share in shares for item in share]


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()
