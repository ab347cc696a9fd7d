"""Metrics that torchmetrics accumulates over the batches and devices of an evaluation."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, distributed
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix

from peclip.data.batch import NO_INDEX
from peclip.errors import InputError
from peclip.results.scores import Scores, scores


class ClassMetrics(MulticlassConfusionMatrix):
    """Counts predictions over the batches and devices of an evaluation; :meth:`scores` returns :class:`Scores`.

    ``update(predictions, labels)`` accepts logits ``(B, C)`` or class indices ``(B,)``, and the true indices ``(B,)``;
    clips with the index :data:`NO_INDEX` are not counted. ``compute()`` and ``scores()`` sum over all devices, so each clip
    must be evaluated once, on one device only.

    Args:
        labels: names of the C classes, in the order of their indices; two or more.

    Raises:
        InputError: there are fewer than two labels; from ``scores()``: no clip was evaluated, or outputs are not finite.
    """

    not_finite: Tensor

    def __init__(self, labels: Sequence[str]) -> None:
        if len(labels) < 2:
            raise InputError(f"the classes are [{', '.join(labels)}]: recognition needs clips of at least two labels")
        super().__init__(num_classes=len(labels), ignore_index=NO_INDEX)
        self.labels = tuple(labels)
        self.add_state("not_finite", torch.tensor(0), dist_reduce_fx="sum")
        self.broken = 0
        """Number of clips of the last ``compute()`` whose logits were not finite: for NaN the first class is the prediction."""

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count the predictions for a batch.

        torchmetrics' own update selects and checks clips by their values, for which the host of a GPU waits several times.
        """
        counted = target != NO_INDEX
        if preds.is_floating_point():
            self.not_finite += (~preds.isfinite().all(dim=1) & counted).sum()
            preds = preds.argmax(dim=1)
        cells = torch.where(counted, target * len(self.labels) + preds, 0)
        self.confmat.view(-1).index_add_(0, cells, counted.to(self.confmat.dtype))

    def compute(self) -> Tensor:
        """Return the confusion matrix, int64 (C, C), of all devices."""
        self.broken = int(self.not_finite)
        return super().compute()

    def scores(self, strict: bool = True) -> Scores:
        """Return the scores over all clips seen since the last ``reset()``.

        Args:
            strict: whether to refuse scores that include clips whose logits were not finite; else see :attr:`broken`.
        """
        found = scores(self.compute().cpu().numpy().astype(np.int64), self.labels)
        if strict and self.broken:
            raise InputError(
                f"the output of the model is not finite for {self.broken} of {found.clips} clips, so there is no score: its "
                "weights may be damaged, or the precision too low (set trainer.precision 32-true)"
            )
        return found


class AllLogits(Metric):
    """Keeps the logits and labels of an evaluation, in the order of the clips on any number of devices.

    ``update(clip, logits, labels)`` accepts ``(B,)``, ``(B, C)`` and ``(B,)``. Clips with the label :data:`NO_INDEX`, and those
    whose logits are not finite, are ignored.
    """

    full_state_update = False
    clips: list[Tensor]
    logits: list[Tensor]
    labels: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("clips", "logits", "labels"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, clip: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Keep the logits of a batch."""
        self.clips.append(clip)
        self.logits.append(logits)
        self.labels.append(labels)

    def compute(self) -> tuple[np.ndarray, np.ndarray]:
        """Return logits, float32 (N, C), and labels, int64 (N,), of all devices."""
        clips, logits, labels = (
            (torch.cat(state) if isinstance(state, list) else state).cpu().numpy()
            for state in (self.clips, self.logits, self.labels)
        )
        counted = (labels != NO_INDEX) & np.isfinite(logits).all(axis=1)
        order = np.argsort(clips[counted], kind="stable")
        return logits[counted][order], labels[counted][order]


class MeanLoss(Metric):
    """Mean cross entropy over the clips of an evaluation, bit-identical in any order and on any number of devices.

    ``update(logits, labels)`` accepts ``(B, C)`` and ``(B,)``; clips with the label :data:`NO_INDEX` are
    ignored. Every device needs at least one clip, possibly such a clip.
    """

    full_state_update = False
    losses: list[Tensor]
    counted: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("losses", [], dist_reduce_fx="cat")
        self.add_state("counted", [], dist_reduce_fx="cat")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Keep the losses of a batch; :meth:`compute` selects those that count, so that no batch waits for a GPU."""
        self.losses.append(F.cross_entropy(logits.float(), labels, reduction="none", ignore_index=NO_INDEX))
        self.counted.append(labels != NO_INDEX)

    def compute(self) -> float:
        """Return the mean over the clips of all devices since the last ``reset()``; NaN if there are none."""
        losses, counted = (
            torch.cat(state) if isinstance(state, list) else state for state in (self.losses, self.counted)
        )
        return float(losses.cpu()[counted.cpu()].double().sort().values.mean())


def selection_score(war: float, loss: float) -> float:
    """Return ``val/score``: the WAR with ties decided by the loss, which counts less than one clip of up to ten million.

    Args:
        war: weighted average recall of an evaluation, 0 to 1.
        loss: mean cross entropy of its clips, at least 0.
    """
    return war - 1e-8 * (1 - 1 / (1 + loss))


class TrainMeans:
    """Mean loss and WAR over the augmented clips of a training epoch.

    A clip that is mixed with another one counts by the label with the larger share, so that the WAR is approximate
    there. Sums stay on the device: no step waits for them.
    """

    def __init__(self) -> None:
        self._sums: Tensor | None = None  # float64 (3,): of the loss, of correct clips, of clips

    def __bool__(self) -> bool:
        return self._sums is not None

    def update(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch.

        Args:
            loss: (), the mean over the clips of all ranks.
            logits: (B, C).
            labels: int64 (B,); :data:`NO_INDEX` for clips that are ignored.
        """
        clips = (labels != NO_INDEX).sum()
        correct = ((logits.detach().argmax(dim=1) == labels) & (labels != NO_INDEX)).sum()
        sums = torch.stack([loss.detach() * clips, correct, clips]).to(_exact(loss.device))
        self._sums = sums if self._sums is None else self._sums.to(sums) + sums

    def of_all_ranks(self, device: torch.device) -> list[float]:
        """Return the sums over all ranks; zeros before the first batch. Every rank must call it."""
        sums = torch.zeros(3) if self._sums is None else self._sums.clone()
        sums = sums.to(device, _exact(device))
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(sums)
        return sums.tolist()

    def compute(self, device: torch.device) -> dict[str, float]:
        """Return ``train/loss_epoch`` and ``train/war``. Every rank must call it."""
        loss, correct, clips = self.of_all_ranks(device)
        return {"train/loss_epoch": loss / max(clips, 1), "train/war": correct / max(clips, 1)}

    def restore(self, sums: list[float], first: bool) -> None:
        """Restore the sums of an interrupted epoch, on the first rank only."""
        self._sums = torch.tensor(sums if first else [0.0, 0.0, 0.0], dtype=torch.float64)

    def reset(self) -> None:
        """Begin a new epoch."""
        self._sums = None


def _exact(device: torch.device) -> torch.dtype:
    """Return the type of sums that a resumed epoch continues without a difference; MPS has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64
