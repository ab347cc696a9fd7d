"""A batch of clips, and how one clip of it is named: what crosses from the loader to training and its callbacks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import torch
from torch import Tensor

NO_INDEX = -1
"""Number of no clip, or of no label: loss, metrics and reports ignore it."""


class Draw(NamedTuple):
    """One appearance of a clip in training: with the seed it decides everything random about it.

    Attributes:
        epoch: its number, from 0.
        step: number of the batch in the epoch, from 0.
        clip: index of the clip in its data set; :data:`NO_INDEX` asks for a dummy clip.
        place: of the clip in the batch of all ranks together.
        own: whether the clip counts on this rank. If not, another rank counts it, and it is read here because one of
            this rank's clips is mixed with it, or because every rank needs a clip.
        again: how often the clip has appeared in this epoch before, where classes are balanced.
    """

    epoch: int
    step: int
    clip: int
    place: int = 0
    own: bool = True
    again: int = 0


@dataclass(frozen=True)
class Skipped:
    """A clip that could not be read and was skipped.

    Attributes:
        clip: its index in its data set.
        reason: why it could not be read, in one line.
    """

    clip: int
    reason: str


@dataclass(frozen=True, eq=False)
class Batch:
    """B clips.

    A batch of which no clip could be read holds one dummy clip: black, with the label and index :data:`NO_INDEX`. Loss and
    metrics ignore it; it lets all ranks take the same number of steps.

    Attributes:
        video: (B, T, 3, H, W); uint8 as it is read, float32 as the model reads it.
        label: (B,) int64; :data:`NO_INDEX` where a clip has none, or does not count.
        clip: (B,) int64, the clips' indices in their data set.
        draws: one of each clip; none for a dummy clip.
        skipped: clips of this batch that could not be read.
        other_label: (B,) int64, the labels of the clips that these are mixed with; None where nothing is mixed.
        weight: share of each clip itself in the mixture; the rest is the other clip's.
    """

    video: Tensor
    label: Tensor
    clip: Tensor
    draws: tuple[Draw, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    other_label: Tensor | None = None
    weight: float = 1.0

    def __len__(self) -> int:
        """Return B."""
        return len(self.label)

    def to(self, device: torch.device | str, non_blocking: bool | None = None) -> Self:
        """Return the batch on a device.

        Args:
            device: where to.
            non_blocking: whether the host may continue before pinned memory has been copied; by default to a GPU, where what
                uses the copy waits for it by itself.
        """
        if non_blocking is None:  # Lightning does not pass it for anything but a tensor
            non_blocking = torch.device(device).type == "cuda"
        other = self.other_label
        return replace(
            self,
            video=self.video.to(device, non_blocking=non_blocking),
            label=self.label.to(device, non_blocking=non_blocking),
            clip=self.clip.to(device, non_blocking=non_blocking),
            other_label=None if other is None else other.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> Self:
        """Return the batch in pinned memory, from which a GPU copies without waiting; the loader calls it."""
        other = self.other_label
        return replace(
            self,
            video=self.video.pin_memory(),
            label=self.label.pin_memory(),
            clip=self.clip.pin_memory(),
            other_label=None if other is None else other.pin_memory(),
        )

    def share_memory(self) -> Self:
        """Move the tensors into shared memory, and return the batch."""
        for tensor in (self.video, self.label, self.clip, self.other_label):
            if tensor is not None:
                tensor.share_memory_()
        return self

    def own(self) -> Self:
        """Return the batch without the clips that do not count on this rank.

        Where there is no other, one stays with :data:`NO_INDEX` for clip and labels: the model runs on it, and it counts for
        nothing.
        """
        own = [index for index, draw in enumerate(self.draws) if draw.own]
        if len(own) == len(self.draws):
            return self
        kept, other = on_device(torch.tensor(own or [0]), self.label.device), self.other_label
        label, clip, other = self.label[kept], self.clip[kept], None if other is None else other[kept]
        if not own:
            label, clip = torch.full_like(label, NO_INDEX), torch.full_like(clip, NO_INDEX)
            other = None if other is None else torch.full_like(other, NO_INDEX)
        draws = tuple(self.draws[index] for index in own)
        return replace(self, video=self.video[kept], label=label, clip=clip, draws=draws, other_label=other)


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the host to a device; a GPU's host does not wait for the work that is queued there."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def collate(batches: Sequence[Batch]) -> Batch:
    """Join batches of one clip each, without those that could not be read; where none could, keep one of the dummy clips."""
    read = [batch for batch in batches if batch.draws] or batches[:1]
    return Batch(
        video=torch.cat([batch.video for batch in read]),
        label=torch.cat([batch.label for batch in read]),
        clip=torch.cat([batch.clip for batch in read]),
        draws=tuple(draw for batch in read for draw in batch.draws),
        skipped=tuple(clip for batch in batches for clip in batch.skipped),
    )
