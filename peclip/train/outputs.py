"""Outputs of a model for an evaluated batch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from peclip.data.batch import NO_INDEX


@dataclass(frozen=True, eq=False)
class Outputs:
    """Predictions for the B clips of an evaluated batch.

    Attributes:
        clip: (B,) int64, the clips' indices in their data set; :data:`NO_INDEX` for a dummy clip.
        logits: (B, C) float32.
    """

    clip: Tensor
    logits: Tensor

    @property
    def probabilities(self) -> Tensor:
        """(B, C) float32."""
        return self.logits.softmax(dim=-1)

    @property
    def predicted(self) -> Tensor:
        """(B,) int64, the most probable class: by the logits, because rounded probabilities may be equal."""
        return self.logits.argmax(dim=-1)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Outputs":
        """Return the outputs on a device; Lightning calls it where predictions are returned."""
        return Outputs(
            self.clip.to(device, non_blocking=non_blocking), self.logits.to(device, non_blocking=non_blocking)
        )

    def known(self) -> "Outputs":
        """Return the outputs of real clips, without dummy clips, on the host."""
        clip, logits = self.clip.cpu(), self.logits.cpu()
        real = clip != NO_INDEX
        return Outputs(clip[real], logits[real])
