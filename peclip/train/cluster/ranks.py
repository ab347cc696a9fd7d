"""What the ranks of a training compute together: the mean of their losses, and lists of all ranks."""

from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

Item = TypeVar("Item")


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


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()
