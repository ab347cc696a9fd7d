"""What the ranks of a training on several devices do together."""

import torch
from torch import Tensor, distributed


def mean_over_ranks(total: Tensor, clips: Tensor) -> Tensor:
    """Return the mean of a loss over the clips of all ranks, which may have different numbers of them.

    The gradients that it gives on each rank have as their mean over the ranks, which DDP and FSDP take, those of one
    process with all clips. The sum and the number travel in one small message, for whose answer a GPU's host does not wait.

    Args:
        total: (), sum of the loss over this rank's clips.
        clips: (), int64, their number.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return total / clips.clamp(min=1)
    of_all = torch.stack([total.detach(), clips.to(total)])
    distributed.all_reduce(of_all)
    number = of_all[1].clamp(min=1)
    share = total * (distributed.get_world_size() / number)
    return share + (of_all[0] / number - share).detach()
