"""Class weights: how much clips of each class count in the loss, so that small classes are not drowned by large ones."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import nn

from peclip.data.datamodule import VideoDataModule
from peclip.data.soft_labels import soft_targets
from peclip.errors import LARGEST, InputError, listed, shown
from peclip.labels import canonical
from peclip.train.losses import check_takes

ClassWeights = Literal["balanced"] | list[float] | dict[str, float]
"""``balanced``, or numbers in the order of the labels, or by label."""

SHOWN = 12
"""Maximum number of classes whose weights a sentence lists; for more it gives the range."""


def loss_of(
    loss: nn.Module, asked: ClassWeights | None, labels: Sequence[str], data: object, tried: bool = True
) -> nn.Module:
    """Return the loss of a training, with class weights if they are asked for.

    Args:
        loss: loss without class weights.
        asked: weights that are asked for, see :func:`class_weights`; None for none.
        labels: C classes in the order of the logits.
        data: data of the training, whose clips ``balanced`` counts.
        tried: whether to try the loss; a custom training step may call it with other arguments.

    Raises:
        InputError: as :func:`class_weights` and :func:`weighted`, or the loss does not accept the labels of the data.
    """
    if asked is not None:
        loss = weighted(loss, class_weights(asked, labels, data))
    if tried:
        check_takes(loss, len(labels), getattr(data, "soft_labels", False))
    return loss


def class_weights(asked: ClassWeights, labels: Sequence[str], data: object) -> tuple[float, ...]:
    """Return a weight for every class.

    Args:
        asked: numbers that are used as they are, or ``balanced``: N / (C * n) for a class with n of the N training clips, which is 1
            on average over the clips. Soft labels count with their probabilities.
        labels: C classes in the order of the logits.
        data: data of the training, whose clips ``balanced`` counts.

    Raises:
        InputError: a number is negative or not finite, a label is missing or unknown, or the classes cannot be balanced.
    """
    if asked == "balanced":
        return _balanced(labels, data)
    assert not isinstance(asked, str)
    found = _by_label(asked, labels) if isinstance(asked, Mapping) else [*asked]
    if len(found) != len(labels):
        raise InputError(
            f"class_weights has {len(found)} numbers, expected one for each of {listed(labels)}", "class_weights"
        )
    for label, weight in zip(labels, found, strict=True):
        if not 0 <= weight <= LARGEST:
            expected = f"a number of at least 0 and at most {LARGEST:g}"
            raise InputError(f"class_weights of {label} is {weight}, expected {expected}", "class_weights")
    if not np.array(found, np.float32).any():
        raise InputError("class_weights are all 0: nothing would be trained", "class_weights")
    return tuple(map(float, found))


def weighted(loss: nn.Module, weights: Sequence[float]) -> nn.CrossEntropyLoss:
    """Return a cross entropy with class weights, one value a clip.

    The mean is over the clips. Torch's mean is over their weights, and would depend on which clips are on which device.

    Args:
        loss: cross entropy without weights.
        weights: (C,), one weight for each class.

    Raises:
        InputError: the loss is another one, or has weights.
    """
    if type(loss) is not nn.CrossEntropyLoss:
        raise InputError(
            f"class_weights are those of CrossEntropyLoss, but loss is {type(loss).__name__}: set the weights of that loss itself",
            "class_weights",
            "loss",
        )
    if loss.weight is not None:
        raise InputError(
            "class_weights are given, and loss has a weight of its own: omit one of them", "class_weights", "loss"
        )
    return nn.CrossEntropyLoss(torch.tensor(weights), reduction="none", label_smoothing=loss.label_smoothing)


def as_sentence(loss: nn.Module, labels: Sequence[str]) -> str:
    """Return the weights of a loss as a line that is printed."""
    weights: list[float] = loss.get_buffer("weight").tolist()
    if len(labels) > SHOWN:
        return f"Class weights from {min(weights):.3g} to {max(weights):.3g}."
    return (
        f"Class weights: {', '.join(f'{label} {weight:.3g}' for label, weight in zip(labels, weights, strict=True))}."
    )


def _by_label(asked: Mapping[str, float], labels: Sequence[str]) -> list[float]:
    found: dict[str, float] = {}
    for name, weight in asked.items():
        label = canonical(str(name))
        if label not in labels:
            raise InputError(
                f"class_weights names {shown(name)}, which is none of the labels {listed(labels)}", "class_weights"
            )
        if label in found:
            raise InputError(f"class_weights names {label!r} twice", "class_weights")
        found[label] = weight
    if lacking := [label for label in labels if label not in found]:
        raise InputError(f"class_weights lacks {lacking[0]!r}: state a weight for every label", "class_weights")
    return [found[label] for label in labels]


def _balanced(labels: Sequence[str], data: object) -> tuple[float, ...]:
    if not isinstance(data, VideoDataModule):
        raise InputError("class_weights balanced counts the clips of a VideoDataModule: state numbers", "class_weights")
    if data.balanced:
        raise InputError(
            "class_weights balanced and data.balanced both make up for small classes: choose one", "class_weights"
        )
    clips = data.splits.train
    if data.soft_labels:
        counts = soft_targets(clips, labels).sum(axis=0, dtype=np.float64)
    else:
        counts = np.array([clips.table["label"].eq(label).sum() for label in labels], dtype=np.float64)
    if not counts.all():
        label = labels[int(counts.argmin())]
        raise InputError(f"class_weights balanced: no training clip has a probability of {label!r}", "class_weights")
    return tuple((counts.sum() / (len(labels) * counts)).tolist())
