"""Compute the loss of a training batch with any torch loss of logits and labels."""

from torch import Tensor, nn

from peclip.data.batch import NO_INDEX

CROSS_ENTROPY = nn.CrossEntropyLoss(reduction="sum", ignore_index=NO_INDEX)
"""The loss of PE-CLIP, summed over the clips of a batch."""


def total_loss(loss: nn.Module, logits: Tensor, labels: Tensor) -> Tensor:
    """Return a loss summed over the clips of a batch, for any reduction of the loss itself.

    Args:
        loss: module of logits (B, C) and labels (B,); returns the sum over the clips where its ``reduction`` is ``sum``, one
            value per clip (B,) where it is ``none``, else the mean.
        logits: (B, C).
        labels: int64 (B,); all of real clips, or (in a batch of one dummy clip) :data:`NO_INDEX`.

    Returns:
        ().
    """
    if loss is CROSS_ENTROPY:
        return loss(logits, labels)
    counted = labels != NO_INDEX
    value = loss(logits, labels.clamp(min=0))
    if value.ndim:
        return (value * counted).sum()
    return value * (counted.any() if getattr(loss, "reduction", "mean") == "sum" else counted.sum())
