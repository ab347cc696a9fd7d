"""Compute the loss of a training batch with any torch loss of logits and labels."""

from copy import deepcopy
from itertools import chain
from warnings import catch_warnings

import torch
from torch import Tensor, nn

from peclip.data.batch import NO_INDEX
from peclip.errors import InputError, first_line

CROSS_ENTROPY = nn.CrossEntropyLoss(reduction="sum", ignore_index=NO_INDEX)
"""The loss of PE-CLIP, summed over the clips of a batch."""

LARGE = 1000.0
"""A large logit."""


def total_loss(loss: nn.Module, logits: Tensor, labels: Tensor, targets: Tensor | None = None) -> Tensor:
    """Return a loss summed over the clips of a batch, for any reduction of the loss itself.

    Args:
        loss: module of logits (B, C) and labels (B,); returns the sum over the clips if its ``reduction`` is ``sum``, one
            value per clip (B,) if it is ``none``, else the mean.
        logits: (B, C).
        labels: int64 (B,); all of real clips, or (in a batch of one dummy clip) :data:`NO_INDEX`.
        targets: float (B, C), the probability of each class if labels are soft; the loss then gets them instead of the labels.

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


def check_takes(loss: nn.Module, classes: int, soft_labels: bool) -> None:
    """Check that a loss accepts logits with labels, or with the probabilities of classes if labels are soft, by trying it.

    A loss of torch that falls without limit as logits grow is one for log-probabilities, and is refused. Of a custom loss a copy
    is tried, because it may count its calls.

    Args:
        loss: loss of any kind.
        classes: number of classes C.
        soft_labels: whether the loss gets (B, C) probabilities in place of labels (B,).

    Raises:
        InputError: the loss does not accept them.
    """
    _check_arguments(loss, classes)
    clips = classes + 1  # B and C differ, so that no loss can confuse them
    labels = torch.full((clips, classes), 1 / classes) if soft_labels else torch.zeros(clips, dtype=torch.int64)
    try:
        why = _complaint(loss, clips, classes, labels)
    except Exception as error:  # noqa: BLE001 - a custom loss may raise anything
        why = first_line(error) or type(error).__name__
    if why and soft_labels:
        raise InputError(
            f"loss {type(loss).__name__} does not accept the probabilities of classes, (B, C), in place of labels, (B,), as "
            f"soft_labels needs: {why}",
            "loss",
        )
    if why:
        raise InputError(f"loss {type(loss).__name__} does not accept logits (B, C) and labels (B,): {why}", "loss")


def _complaint(loss: nn.Module, clips: int, classes: int, labels: Tensor) -> str:
    """Return what is wrong with the value of a loss if all logits are equal; empty if nothing is wrong."""
    of_torch = type(loss).__module__.startswith("torch.")
    logit = LARGE if of_torch else 0.0
    device = next((tensor.device for tensor in chain(loss.buffers(), loss.parameters())), torch.device("cpu"))
    logits = torch.full((clips, classes), logit, device=device, requires_grad=True)
    with catch_warnings(action="ignore"), torch.random.fork_rng(devices=[]):  # torch warns of shapes that are broadcast
        value = (loss if of_torch else deepcopy(loss))(logits, labels.to(device))
    if not isinstance(value, Tensor):
        return f"it returns {type(value).__name__}, expected a tensor"
    if value.shape not in ((), (1,), (clips,)):
        return f"it returns {tuple(value.shape)}"
    if not value.requires_grad:
        return "no gradient flows from its value to the logits"
    if of_torch and value.min() < -1:
        return (
            f"it is {value.min().item():,.0f} where all logits are {LARGE:,.0f}, as one of log-probabilities is; "
            "torch.nn.CrossEntropyLoss takes logits"
        )
    return ""


def _check_arguments(loss: nn.Module, classes: int) -> None:
    """Refuse arguments of torch's losses that torch itself accepts, but with which classes would not be learned.

    Raises:
        InputError: clips of a class would not count, or labels would have no effect.
    """
    name, ignored, smoothing = (
        type(loss).__name__,
        getattr(loss, "ignore_index", None),
        getattr(loss, "label_smoothing", 0),
    )
    if isinstance(ignored, int) and 0 <= ignored < classes:
        raise InputError(
            f"loss {name} has ignore_index {ignored}, which is a class: none of its clips would count; omit it", "loss"
        )
    if isinstance(smoothing, int | float) and not 0 <= smoothing < 1:
        raise InputError(f"loss {name} has label_smoothing {smoothing}, expected from 0 to below 1", "loss")


def check_untrained(loss: nn.Module | None) -> None:
    """Check that a loss has no parameters that would have to be trained.

    Raises:
        InputError: the loss has parameters.
    """
    if loss and any(weight.requires_grad for weight in loss.parameters()):
        raise InputError(f"loss {type(loss).__name__} has parameters of its own, which would not be trained", "loss")
