"""What a recogniser is judged by: WAR, UAR and the recall of each class, all read off one confusion matrix.

The functions work on a matrix of counts wherever it comes from; :class:`ExpressionMetrics` counts during a run.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix

from peclip.errors import InputError


class Scores(NamedTuple):
    """The result of an evaluation; rates are fractions from 0 to 1."""

    clips: int
    """Number of clips evaluated."""
    war: float
    """Weighted average recall, which is accuracy: correct clips over all clips."""
    uar: float
    """Unweighted average recall: the mean recall over the classes that occur."""
    per_class_recall: dict[str, float | None]
    """Recall by label, in class order; None for a class of which there was no clip."""
    confusion: np.ndarray
    """int64 ``(C, C)``, number of clips: rows are the truth, columns the predictions, both in class order."""


def war(confusion: np.ndarray) -> float:
    """Return the weighted average recall, correct clips over all clips, of a ``(C, C)`` matrix with truth in rows.

    Raises:
        InputError: the matrix holds no clip.
    """
    return float(np.trace(confusion) / _clips(confusion))


def uar(confusion: np.ndarray) -> float:
    """Return the unweighted average recall, over the classes that occur, of a ``(C, C)`` matrix with truth in rows.

    Raises:
        InputError: the matrix holds no clip.
    """
    _clips(confusion)
    return float(np.nanmean(recalls(confusion)))


def recalls(confusion: np.ndarray) -> np.ndarray:
    """Return the recall of each class, float64 ``(C,)``; NaN for a class that does not occur."""
    occurring = confusion.sum(axis=1)
    return np.divide(confusion.diagonal(), occurring, out=np.full(len(confusion), np.nan), where=occurring > 0)


def scores(confusion: np.ndarray, labels: Sequence[str]) -> Scores:
    """Return every score of a ``(C, C)`` matrix of counts with truth in rows.

    Args:
        confusion: number of clips by true and predicted class.
        labels: the names of its C classes, in its order.

    Raises:
        InputError: the matrix holds no clip.
    """
    by_class = (None if np.isnan(recall) else float(recall) for recall in recalls(confusion))
    per_class_recall = dict(zip(labels, by_class, strict=True))
    return Scores(_clips(confusion), war(confusion), uar(confusion), per_class_recall, confusion)


class ExpressionMetrics(MulticlassConfusionMatrix):
    """Counts predictions over the batches and devices of an evaluation, and returns :class:`Scores`.

    ``update(predictions, labels)`` takes logits ``(B, C)`` or class indices ``(B,)``, and the true indices ``(B,)``;
    what has the index -1 is not counted.
    ``compute()`` sums over all devices, so each clip has to be given to one device only, and once.

    Args:
        labels: names of the C classes, in the order of their indices; two or more.

    Raises:
        InputError: there are fewer than two labels; from ``compute()``: no clip was evaluated.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        if len(labels) < 2:
            raise InputError(f"the classes are [{', '.join(labels)}]: recognition needs clips of at least two labels")
        super().__init__(num_classes=len(labels), ignore_index=-1)
        self.labels = tuple(labels)

    def compute(self) -> Scores:  # type: ignore[override]  # the matrix is part of the scores
        """Return the scores over all clips seen since the last ``reset()``."""
        return scores(super().compute().cpu().numpy().astype(np.int64), self.labels)


class MeanLoss(Metric):
    """The mean cross entropy over the clips of an evaluation, the same to the bit in whatever order and on how many devices.

    ``update(logits, labels)`` takes ``(B, C)`` and ``(B,)``; a label of -1 does not count. Every device has to be given
    something, be it such a clip.
    """

    full_state_update = False
    losses: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("losses", [], dist_reduce_fx="cat")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Keep the losses of a batch."""
        counted = labels >= 0
        self.losses.append(F.cross_entropy(logits[counted].float(), labels[counted], reduction="none"))

    def compute(self) -> float:
        """Return the mean over the clips of all devices since the last ``reset()``; NaN where there are none."""
        losses = torch.cat(self.losses) if isinstance(self.losses, list) else self.losses
        return float(losses.cpu().double().sort().values.mean())


def _clips(confusion: np.ndarray) -> int:
    if not (clips := int(confusion.sum())):
        raise InputError(
            "no clip was evaluated: the split is empty or all its clips were skipped, so there is no score"
        )
    return clips
