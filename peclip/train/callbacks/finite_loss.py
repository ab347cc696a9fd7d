"""The callback that stops a training whose loss is not finite."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from peclip.data.batch import Batch
from peclip.errors import InputError
from peclip.train.cluster.ranks import of_all_ranks
from peclip.train.cluster.signals import reported_by_rank_zero
from peclip.train.evaluation import HostCopies

SHOWN = 8
"""Maximum number of clips in a message."""


class _Step(NamedTuple):
    """Facts about a step, for the message if its loss is not finite."""

    number: int
    epoch: int
    loss: HostCopies
    clips: list[int]
    rates: list[float]


class FiniteLoss(Callback):
    """Stops a training whose loss is NaN or infinite, before its checkpoint is written.

    The loss of a step is checked during the next one, so that the device is not kept waiting. It is the mean over all ranks,
    so all of them stop, and rank 0 reports the reason.
    """

    def __init__(self) -> None:
        self._steps: list[_Step] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note the learning rates of the step, which the scheduler changes at its end."""
        self._rates = [group["lr"] for group in trainer.optimizers[0].param_groups]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Check the loss of the previous step, and keep that of this one.

        Raises:
            InputError: the loss is not finite.
        """
        self._look(trainer)
        if "loss" not in outputs:  # a custom module has skipped the step
            return
        clips = [draw.clip for draw in batch.draws]
        loss = HostCopies(outputs["loss"])
        self._steps = [_Step(trainer.global_step, trainer.current_epoch, loss, clips, self._rates)]

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the loss of the last step."""
        self._look(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse to write a checkpoint whose loss or weights are not finite.

        Raises:
            InputError: the loss or a weight is not finite.
        """
        self._look(trainer, keep=True)
        trained = [weight for weight in pl_module.parameters() if weight.requires_grad]
        if trained and not torch.stack([weight.isfinite().all() for weight in trained]).all():
            self._stop(trainer, "the gradients were not finite, nor are the weights")

    def _look(self, trainer: Trainer, keep: bool = False) -> None:
        if self._steps and not math.isfinite(loss := float(self._steps[0].loss.get()[0])):
            self._stop(trainer, f"the loss is {loss}")
        if not keep:
            self._steps = []

    def _stop(self, trainer: Trainer, what: str) -> NoReturn:
        clips = of_all_ranks(self._steps[0].clips) if self._steps else []
        raise reported_by_rank_zero(trainer, InputError(self._message(trainer, what, clips)), status=2)

    def _message(self, trainer: Trainer, what: str, clips: list[int]) -> str:
        if not self._steps:
            return f"{what}: nothing is saved"
        step, table = self._steps[0], trainer.datamodule.splits.train.table  # type: ignore[attr-defined]
        rates = ", ".join(f"{rate:.3g}" for rate in step.rates)
        return (
            f"{what} in step {step.number} (epoch {step.epoch + 1}) with the learning rates {rates} and the clips "
            f"{_listed([table['path'].iat[clip] for clip in clips])}: the last checkpoint before it is kept. Lower "
            "the rates, or inspect these clips with peclip check"
        )


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + rest
