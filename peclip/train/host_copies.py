"""Copies of tensors on their way from a device to the host."""

import torch
from torch import Tensor


class HostCopies:
    """Copies of tensors on their way to the host, which waits only for the work that was queued before them.

    Args:
        tensors: tensors of one device.
    """

    def __init__(self, *tensors: Tensor) -> None:
        is_cuda = any(each.is_cuda for each in tensors)  # other devices do not report when a copy has arrived
        self._copies = [each.detach().to("cpu", non_blocking=is_cuda) for each in tensors]
        self._event = torch.cuda.Event() if is_cuda else None
        if self._event:
            self._event.record()

    def get(self) -> list[Tensor]:
        """Return the copies."""
        if self._event:
            self._event.synchronize()
        return self._copies
