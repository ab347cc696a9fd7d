"""A batch of clips, and how one clip of it is named: what crosses from the loader to training and its callbacks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

NO_INDEX = -1
"""Index that stands for no clip, and for no label: loss, metrics and reports ignore it."""


class Draw(NamedTuple):
    """One appearance of a clip in training: with the seed it decides everything random about it.

    Attributes:
        epoch: number of the epoch, from 0.
        step: number of the batch in the epoch, from 0.
        clip: index of the clip in its data set; :data:`NO_INDEX` asks for a dummy clip.
        place: place of the clip in the batch of all ranks together, from 0.
        own: whether the clip counts on this rank. If not, another rank counts it, and it is read here because one of
            this rank's clips is mixed with it, or because every rank needs a clip.
        again: number of times that the clip has appeared in this epoch before; above 0 only if classes are balanced.
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
        clip: index of the clip in its data set.
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
        video: (B, T, 3, H, W); uint8 as it is read, float32 as the model reads it. In an evaluation with V views of each clip it is
            read with the frames of all, and then (B, V, T, 3, H, W).
        label: (B,) int64; :data:`NO_INDEX` if a clip has none, or does not count.
        clip: (B,) int64, the clips' indices in their data set.
        draws: one of each clip; none for a dummy clip.
        skipped: clips of this batch that could not be read.
        other_label: (B,) int64, the labels of the clips that these are mixed with; None if nothing is mixed.
        weight: share of each clip itself in the mixture; the rest is the other clip's.
        target: (B, C) float32, the probability of each class where labels are soft, else None.
        other_target: (B, C) float32, the same of the clips that these are mixed with.
    """

    video: Tensor
    label: Tensor
    clip: Tensor
    draws: tuple[Draw, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    other_label: Tensor | None = None
    weight: float = 1.0
    target: Tensor | None = None
    other_target: Tensor | None = None

    def __len__(self) -> int:
        """Return B."""
        return len(self.label)

    def to(self, device: torch.device | str, non_blocking: bool | None = None) -> Self:
        """Return the batch on a device; a GPU copies pinned memory while it computes what was queued before.

        Args:
            device: device to copy to.
            non_blocking: whether the host may continue before pinned memory has been copied; by default to a GPU, where what
                uses the copy waits for it by itself.
        """
        gpu = torch.device(device).type == "cuda"
        if non_blocking is None:  # Lightning does not pass it for anything but a tensor
            non_blocking = gpu
        copied = partial(Tensor.to, device=device, non_blocking=non_blocking)
        if not (gpu and non_blocking and self.video.is_pinned()):
            return self._each(copied)
        computing, copying = torch.cuda.current_stream(device), _copying(torch.device(device))
        with torch.cuda.stream(copying):
            batch = self._each(copied)
        computing.wait_stream(copying)
        for tensor in batch._tensors().values():  # its memory is not used again before what is queued by then is over
            tensor.record_stream(computing)
        return batch

    def pin_memory(self) -> Self:
        """Return the batch in pinned memory, from which a GPU copies without waiting; the loader calls it."""
        return self._each(Tensor.pin_memory)

    def share_memory(self) -> Self:
        """Move the tensors into shared memory, and return the batch."""
        return self._each(Tensor.share_memory_)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Return the batch with each of its tensors changed."""
        changed: dict[str, Any] = {name: change(value) for name, value in self._tensors().items()}
        return replace(self, **changed)

    def _tensors(self) -> dict[str, Tensor]:
        return {name: value for name in _TENSORS if (value := getattr(self, name)) is not None}

    def own(self) -> Self:
        """Return the batch without the clips that do not count on this rank.

        If no clip counts here, one stays, with :data:`NO_INDEX` for clip and label: the model runs on it, and it counts for
        nothing.
        """
        own = [index for index, draw in enumerate(self.draws) if draw.own]
        if len(own) == len(self.draws):
            return self
        rows = on_device(torch.tensor(own or [0]), self.label.device)
        batch = replace(self._each(lambda tensor: tensor[rows]), draws=tuple(self.draws[index] for index in own))
        if own:
            return batch
        kept = {name: value for name in _INDICES if (value := getattr(batch, name)) is not None}
        none: dict[str, Any] = {name: torch.full_like(value, NO_INDEX) for name, value in kept.items()}
        return replace(batch, **none)


_INDICES = ("label", "clip", "other_label")
_TENSORS = ("video", *_INDICES, "target", "other_target")


@cache
def _copying(device: torch.device) -> torch.cuda.Stream:
    """Return the stream of a GPU that batches are copied on."""
    return torch.cuda.Stream(device)


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the host to a device; a GPU's host does not wait for the work that is queued there."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def collate(batches: Sequence[Batch]) -> Batch:
    """Join batches of one clip each, without clips that could not be read; if none could be read, keep one dummy clip."""
    read = [batch for batch in batches if batch.draws] or batches[:1]
    targets = [batch.target for batch in read if batch.target is not None]
    return Batch(
        video=torch.cat([batch.video for batch in read]),
        label=torch.cat([batch.label for batch in read]),
        clip=torch.cat([batch.clip for batch in read]),
        target=torch.cat(targets) if targets else None,
        draws=tuple(draw for batch in read for draw in batch.draws),
        skipped=tuple(clip for batch in batches for clip in batch.skipped),
    )
