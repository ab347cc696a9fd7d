"""Outputs of a model for an evaluated batch, and their way from a device to the host."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from peclip.data.batch import NO_INDEX


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


@dataclass(frozen=True, eq=False)
class Outputs:
    """Predictions for the B clips of an evaluated batch.

    Attributes:
        clip: (B,) int64, the clips' indices in their data set; :data:`NO_INDEX` for a dummy clip.
        logits: (B, C) float32.
        temperature: temperature by which the logits are divided before the softmax.
    """

    clip: Tensor
    logits: Tensor
    temperature: float = 1.0

    @property
    def probabilities(self) -> Tensor:
        """(B, C) float32."""
        return (self.logits / self.temperature).softmax(dim=-1)

    @property
    def predicted(self) -> Tensor:
        """(B,) int64, the most probable class: by the logits, because rounded probabilities may be equal."""
        return self.logits.argmax(dim=-1)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Outputs":
        """Return the outputs on a device; Lightning calls it where predictions are returned."""
        clip, logits = (each.to(device, non_blocking=non_blocking) for each in (self.clip, self.logits))
        return replace(self, clip=clip, logits=logits)

    def known(self) -> "Outputs":
        """Return the outputs of real clips, without dummy clips, on the host."""
        clip, logits = self.clip.cpu(), self.logits.cpu()
        real = clip != NO_INDEX
        return replace(self, clip=clip[real], logits=logits[real])


class LateOutputs:
    """Holds the outputs of one batch until the next batch comes, so that the device need not wait for the host."""

    def __init__(self) -> None:
        self._latest: tuple[HostCopies, float] | None = None

    def put(self, outputs: Outputs, *more: Tensor) -> None:
        """Begin to copy the outputs of a batch to the host, with more tensors of the batch."""
        self._latest = HostCopies(outputs.clip, outputs.logits, *more), outputs.temperature

    def take(self) -> tuple[Outputs, list[Tensor]] | None:
        """Return the outputs that were put last, and the other tensors, on the host; None if they were taken before."""
        if self._latest is None:
            return None
        (copies, temperature), self._latest = self._latest, None
        clip, logits, *more = copies.get()
        return Outputs(clip, logits, temperature), more
