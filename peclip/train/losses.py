"""Compute the loss of a training batch with any torch loss of logits and labels."""

import torch
from torch import Tensor, nn

from peclip.data.batch import NO_INDEX
from peclip.errors import InputError, first_line

CROSS_ENTROPY = nn.CrossEntropyLoss(reduction="sum", ignore_index=NO_INDEX)
"""The loss of PE-CLIP, summed over the clips of a batch."""


def total_loss(loss: nn.Module, logits: Tensor, labels: Tensor, targets: Tensor | None = None) -> Tensor:
    """Return a loss summed over the clips of a batch, for any reduction of the loss itself.

    Args:
        loss: module of logits (B, C) and labels (B,); returns the sum over the clips where its ``reduction`` is ``sum``, one
            value per clip (B,) where it is ``none``, else the mean.
        logits: (B, C).
        labels: int64 (B,); all of real clips, or (in a batch of one dummy clip) :data:`NO_INDEX`.
        targets: float (B, C), the probability of each class where labels are soft, which the loss then gets instead of them.

    Returns:
        ().
    """
    if loss is CROSS_ENTROPY and targets is None:
        return loss(logits, labels)
    counted = labels != NO_INDEX
    value = loss(logits, labels.clamp(min=0) if targets is None else targets)
    if value.ndim:
        return (value * counted).sum()
    return value * (counted.any() if getattr(loss, "reduction", "mean") == "sum" else counted.sum())


def check_takes_soft_labels(loss: nn.Module, classes: int) -> None:
    """Check that a loss accepts the probabilities of classes in place of labels, by trying it.

    Raises:
        InputError: it does not.
    """
    try:
        value = loss(torch.zeros(2, classes), torch.full((2, classes), 1 / classes))
        fits = isinstance(value, Tensor) and value.shape in ((), (2,))
        why = "" if fits else f"it returns {tuple(value.shape) if isinstance(value, Tensor) else value!r}"
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        why = first_line(error)
    if why:
        raise InputError(
            f"data.soft_labels is true, but loss {type(loss).__name__} does not take the probabilities of classes, (B, C), in "
            f"place of labels, (B,): {why}",
            "loss",
        )


def check_untrained(loss: nn.Module | None) -> None:
    """Check that a loss has no parameters that would have to be trained.

    Raises:
        InputError: it has.
    """
    if loss and any(weight.requires_grad for weight in loss.parameters()):
        raise InputError(f"loss {type(loss).__name__} has parameters of its own, which would not be trained", "loss")
