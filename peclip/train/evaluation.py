"""Evaluate a PEClip with Lightning: metrics over all clips, calibration, and the outputs for each batch, on their way to the host."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from peclip.data.batch import NO_INDEX, Batch
from peclip.model import PEClip
from peclip.model.network import logits_of
from peclip.results.calibration import Calibrated, calibrated, fit_temperature
from peclip.results.scores import Scores
from peclip.train.metrics import AllLogits, ClassMetrics, MeanLoss, selection_score

Stage = Literal["val", "test"]

SAME_ON_ALL_RANKS: dict[str, Any] = {"sync_dist": True, "rank_zero_only": True}
"""Arguments of ``log`` for a value that every rank has computed over all clips, so that no reduction is needed."""


class HostCopies:
    """Copies of tensors on their way to the host, which waits only for the work that was queued before them.

    Args:
        tensors: tensors of one device.
    """

    def __init__(self, *tensors: Tensor) -> None:
        is_cuda = any(each.is_cuda for each in tensors)  # other devices do not report when a copy has arrived
        self._copies = [each.detach().to("cpu", non_blocking=is_cuda) for each in tensors]
        self._event = torch.cuda.Event() if is_cuda else None
        if self._event:
            self._event.record()

    def get(self) -> list[Tensor]:
        """Return the copies."""
        if self._event:
            self._event.synchronize()
        return self._copies


@dataclass(frozen=True, eq=False)
class Outputs:
    """Predictions for the B clips of an evaluated batch.

    Attributes:
        clip: (B,) int64, the clips' indices in their data set; :data:`NO_INDEX` for a dummy clip.
        logits: (B, C) float32.
        temperature: temperature by which the logits are divided before the softmax.
    """

    clip: Tensor
    logits: Tensor
    temperature: float = 1.0

    @property
    def probabilities(self) -> Tensor:
        """(B, C) float32."""
        return (self.logits / self.temperature).softmax(dim=-1)

    @property
    def predicted(self) -> Tensor:
        """(B,) int64, the most probable class: by the logits, because rounded probabilities may be equal."""
        return self.logits.argmax(dim=-1)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Outputs":
        """Return the outputs on a device; Lightning calls it where predictions are returned."""
        clip, logits = (each.to(device, non_blocking=non_blocking) for each in (self.clip, self.logits))
        return replace(self, clip=clip, logits=logits)

    def known(self) -> "Outputs":
        """Return the outputs of real clips, without dummy clips, on the host."""
        clip, logits = self.clip.cpu(), self.logits.cpu()
        real = clip != NO_INDEX
        return replace(self, clip=clip[real], logits=logits[real])


class LateOutputs:
    """Holds the outputs of one batch until the next batch comes, so that the device need not wait for the host."""

    def __init__(self) -> None:
        self._latest: tuple[HostCopies, float] | None = None

    def put(self, outputs: Outputs, *more: Tensor) -> None:
        """Begin to copy the outputs of a batch to the host, with more tensors of the batch."""
        self._latest = HostCopies(outputs.clip, outputs.logits, *more), outputs.temperature

    def take(self) -> tuple[Outputs, list[Tensor]] | None:
        """Return the outputs that were put last, and the other tensors, on the host; None if they were taken before."""
        if self._latest is None:
            return None
        (copies, temperature), self._latest = self._latest, None
        clip, logits, *more = copies.get()
        return Outputs(clip, logits, temperature), more


class EvaluationModule(LightningModule):
    """Validates, tests and predicts; :class:`peclip.train.PEClipModule`, which trains, describes the arguments.

    Logs the loss, which is always the cross entropy, WAR, UAR and the recalls of an evaluation, and ``val/score``.
    """

    def __init__(self, net: PEClip, zero_shot: bool, calibrate: bool) -> None:
        super().__init__()
        self.net, self.zero_shot, self.calibrate = net, zero_shot, calibrate
        self.val_metrics = ClassMetrics(net.labels)
        self.test_metrics = ClassMetrics(net.labels)
        self.zero_shot_metrics = ClassMetrics(net.labels)
        self.eval_loss, self.eval_logits = MeanLoss(), AllLogits()
        self.scores: dict[str, Scores] = {}
        """The latest results by stage: ``val``, ``test`` and ``zero_shot``."""
        self.calibration: Calibrated | None = None
        """Calibration of the latest evaluation; None if it was not calibrated."""

    @property
    def temperature(self) -> float:
        """Temperature by which the logits of an evaluation are divided before the softmax."""
        return self.net.temperature if self.calibrate else 1.0

    @property
    def is_fitting(self) -> bool:
        """True while a trainer trains the module."""
        return self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING

    def forward(self, video: Tensor) -> Tensor:
        """Return logits (B, C) of normalised clips, float (B, T, 3, H, W)."""
        return self.net(video)

    def validation_step(self, batch: Batch, batch_idx: int) -> Outputs:  # type: ignore[override]  # Lightning takes any
        """Add a batch of validation clips to the metrics."""
        return self._evaluate(batch, self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> Outputs:  # type: ignore[override]  # Lightning takes any
        """Add a batch of test clips to the metrics, and the predictions of bare CLIP if ``zero_shot`` is set."""
        bare = None
        if self.zero_shot:
            with self.net.bare():
                bare = logits_of(self.net, batch.video)
        outputs = self._evaluate(batch, self.test_metrics)
        if bare is not None:
            self.zero_shot_metrics.update(bare, batch.label)
        return outputs

    def predict_step(self, batch: Batch, batch_idx: int) -> Outputs:
        """Return the predictions for a batch; its labels are ignored."""
        return Outputs(batch.clip, logits_of(self.net, batch.video), self.temperature)

    def on_validation_epoch_start(self) -> None:
        """Forget the clips of an evaluation that did not end, such as the trial of a batch size for which there was no memory."""
        for metric in (self.val_metrics, self.test_metrics, self.zero_shot_metrics, self.eval_loss, self.eval_logits):
            metric.reset()

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_epoch_end(self) -> None:
        """Log the results over all validation clips; within a fit, set the temperature of the network to the one that fits them."""
        if self.trainer.sanity_checking:  # its few clips may all be unreadable
            return
        loss = self._log_loss("val")
        self._calibrate()
        self.scores["val"] = scores = self._log_scores("val", self.val_metrics)
        score = math.nan if self.val_metrics.broken else selection_score(scores.war, loss)
        self.log("val/score", torch.tensor(score, dtype=torch.float64), **SAME_ON_ALL_RANKS)  # on the CPU: MPS has none

    def on_test_epoch_end(self) -> None:
        """Log the results over all test clips."""
        self._log_loss("test")
        self._calibrate()
        self.scores["test"] = self._log_scores("test", self.test_metrics)
        if self.zero_shot:
            self.scores["zero_shot"] = self._log_scores("zero_shot", self.zero_shot_metrics)

    def _evaluate(self, batch: Batch, metrics: ClassMetrics) -> Outputs:
        logits = logits_of(self.net, batch.video)
        metrics.update(logits, batch.label)
        self.eval_loss.update(logits, batch.label)
        self.eval_logits.update(batch.clip, logits, batch.label)
        return Outputs(batch.clip, logits, 1.0 if self.is_fitting else self.temperature)

    def _calibrate(self) -> None:
        """Measure the calibration; within a fit, first set ``net.temperature``, which the checkpoints of these weights hold."""
        logits, truth = self.eval_logits.compute()
        self.eval_logits.reset()
        if self.is_fitting:
            self.net.temperature = fit_temperature(logits, truth) if self.calibrate else 1.0
        self.calibration = calibrated(logits, truth, self.temperature) if len(truth) else None

    def _log_loss(self, stage: Stage) -> float:
        loss = self.eval_loss.compute()
        self.eval_loss.reset()
        self.log(f"{stage}/loss", loss, **SAME_ON_ALL_RANKS)
        return loss

    def _log_scores(self, stage: str, metrics: ClassMetrics) -> Scores:
        """Log the scores of an evaluation; they are NaN if outputs were not finite, which ends every evaluation except those of a fit.

        Raises:
            InputError: as :meth:`ClassMetrics.scores`.
        """
        scores = metrics.scores(strict=self.trainer.state.fn != "fit")
        metrics.reset()
        recalls = {f"{stage}/recall/{label}": recall for label, recall in scores.per_class_recall.items()}
        values = {f"{stage}/war": scores.war, f"{stage}/uar": scores.uar, **recalls}
        known = {name: math.nan if metrics.broken else value for name, value in values.items() if value is not None}
        self.log_dict(known, **SAME_ON_ALL_RANKS)
        return scores
