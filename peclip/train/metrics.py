"""Metrics that torchmetrics accumulates over the batches and devices of an evaluation."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix

from peclip.errors import InputError
from peclip.results.scores import Scores, scores


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
