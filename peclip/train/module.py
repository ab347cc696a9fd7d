"""Train and evaluate a PEClip with Lightning: PEClipModule."""

import math
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import Optimizer

from peclip.arguments import checked, python_value
from peclip.data.batch import NO_INDEX, Batch
from peclip.errors import InputError, check_not_negative, options_below
from peclip.model import PEClip, Trained
from peclip.model.arithmetic import clip_flops
from peclip.model.device import check_precision
from peclip.model.io.checkpoint import from_checkpoint, to_checkpoint
from peclip.train.averages import restore_averages, without_frozen
from peclip.train.class_weights import ClassWeights, loss_of
from peclip.train.cluster.ranks import mean_over_ranks
from peclip.train.cluster.sharded import check_strategy, shard
from peclip.train.evaluation import SAME_ON_ALL_RANKS, EvaluationModule
from peclip.train.losses import CROSS_ENTROPY, check_untrained, total_loss
from peclip.train.lr_scheduler import RateSchedule, Schedule, set_rates
from peclip.train.metrics import TrainMeans
from peclip.train.optimizers import (
    Scheduler,
    check_rate,
    described,
    plateaus,
    read_by_plateaus,
    step_plateaus,
    with_own_rates,
)
from peclip.train.parameters import parameter_groups
from peclip.train.private_hooks import average_exactly, resume_exactly, validate_last_epoch

WEIGHT_DECAY = 1e-2
"""Weight decay of the paper."""


class PEClipModule(EvaluationModule):
    """Trains the adapters and prompts of a PEClip (PE-CLIP, section 4: AdamW, warm-up, cosine).

    Logs ``train/loss`` of each step; ``train/loss_epoch`` and ``train/war`` over the augmented clips of an
    epoch; ``val/loss``, ``val/war``, ``val/uar``, ``val/recall/LABEL`` and the same for ``test``; and ``val/score``,
    the WAR with ties decided by the loss, by which the best checkpoint is chosen. The loss of an evaluation is always
    the cross entropy.

    Args:
        net: the model.
        lr_adapters: learning rate of the adapters; at least 0.
        lr_prompts: learning rate of the prompts; at least 0.
        lr_peft: learning rate of the layers of Hugging Face PEFT; at least 0.
        weight_decay: decoupled weight decay of everything trainable but norms of the backbone; at least 0. A custom optimizer
            has its own.
        warmup_epochs: epochs of linear warm-up; at least 0.
        warmup_lr: learning rate at the start of the warm-up.
        schedule: shape of the rates after the warm-up: cosine to zero, or step.
        step_epochs: number of epochs after which schedule step lowers the rates, repeatedly; at least 1.
        step_factor: factor of the rates each time that schedule step lowers them; above 0, at most 1.
        loss: a module of logits (B, C) and labels (B,), such as torch.nn.CrossEntropyLoss with label_smoothing;
            by default cross entropy.
        optimizer: callable of the parameter groups ``adapters``, ``prompts``, ``temporal``, ``peft`` and ``norms``, which carry
            their learning rates; by default AdamW with weight_decay.
        lr_scheduler: callable of the optimizer whose result steps once an epoch; replaces the warm-up and schedule above.
        zero_shot: also evaluate CLIP without adapters and prompts when testing.
        frozen: precision in which the matrices of CLIP are held. With trainer.precision bf16-mixed, bf16 needs half the
            memory and no cast at every call, with bit-identical results.
        residual: precision of the tokens between the blocks of the vision tower. With trainer.precision bf16-mixed, bf16 needs less
            memory and time, with other rounding.
        sharded: whether each device holds only a shard of CLIP, and gathers a block from the other devices of its machine
            when the block runs; with trainer.strategy ddp and 2 devices or more.
        calibrate: whether to fit a temperature on the validation clips, by which logits are divided before the softmax, so that
            probabilities match frequencies. It changes no prediction. In evaluations, false ignores the temperature of the model.
        lr_temporal: learning rate of the temporal head, if there is one; at least 0, by default that of the adapters.
        class_weights: factors of the cross entropy by class: balanced (1 on average over the training clips, more for small classes),
            or numbers of at least 0 in the order of the labels or by label; by default all classes count alike.
        lr_norms: learning rate of the norms of the backbone, if they train; at least 0. They have no weight decay.

    Raises:
        InputError: a number is out of range, or the loss has parameters of its own.
    """

    @checked()
    def __init__(
        self,
        net: PEClip,
        lr_adapters: float = 2e-4,
        lr_prompts: float = 3e-5,
        lr_peft: float = 2e-4,
        weight_decay: float = WEIGHT_DECAY,
        warmup_epochs: float = 3.0,
        warmup_lr: float = 2e-5,
        schedule: Schedule = "cosine",
        step_epochs: int = 8,
        step_factor: float = 0.5,
        loss: nn.Module | None = None,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = None,
        zero_shot: bool = False,
        frozen: Literal["fp32", "bf16"] = "fp32",
        sharded: bool = False,
        calibrate: bool = True,
        lr_temporal: float | None = None,
        class_weights: ClassWeights | None = None,
        lr_norms: float = 2e-4,
        residual: Literal["fp32", "bf16"] = "fp32",
    ) -> None:
        super().__init__(net, zero_shot, calibrate)
        rates = {"lr_adapters": lr_adapters, "lr_prompts": lr_prompts, "lr_peft": lr_peft, "lr_norms": lr_norms}
        for name, value in {**rates, "lr_temporal": lr_temporal or 0.0, "weight_decay": weight_decay}.items():
            check_not_negative(name, value)
        if optimizer and weight_decay != WEIGHT_DECAY:
            raise InputError(
                f"weight_decay is {weight_decay}, but belongs to AdamW, the default: set it in the options of optimizer",
                "weight_decay",
                "optimizer",
            )
        check_untrained(loss)
        self.strict_loading = False  # a checkpoint holds only what is trainable
        self.lr_adapters, self.lr_prompts, self.lr_peft = lr_adapters, lr_prompts, lr_peft
        self.lr_temporal, self.lr_norms, self.weight_decay = lr_temporal, lr_norms, weight_decay
        self.rate_schedule = RateSchedule(warmup_epochs, warmup_lr, schedule, step_epochs, step_factor)
        self.loss, self.optimizer, self.lr_scheduler = loss or CROSS_ENTROPY, optimizer, lr_scheduler
        self.frozen, self.residual, self.sharded = frozen, residual, sharded
        self.class_weights, self._unweighted = class_weights, self.loss
        self._rates_changed = False
        self._read_before: dict[str, Tensor] = {}
        self.train_means = TrainMeans()

    @property
    def rates(self) -> dict[str, float]:
        """Learning rates by the name of the parameter group."""
        temporal = self.lr_adapters if self.lr_temporal is None else self.lr_temporal
        own = {"adapters": self.lr_adapters, "prompts": self.lr_prompts, "temporal": temporal, "peft": self.lr_peft}
        return own | {"norms": self.lr_norms}

    @property
    def lr(self) -> float:
        """The rate of the adapters, which Lightning's LearningRateFinder sets; the others keep their ratios to it."""
        return self.lr_adapters

    @lr.setter
    def lr(self, value: float) -> None:
        value = python_value(value)
        for name in ("lr_prompts", "lr_peft", "lr_temporal", "lr_norms"):
            if (rate := getattr(self, name)) is not None:
                setattr(self, name, value * (rate / self.lr_adapters if self.lr_adapters else 1.0))
        self.lr_adapters = value
        if self._trainer is not None:
            set_rates(self.trainer, self.rates)
            self._rates_changed = True

    def on_fit_start(self) -> None:
        """Keep frozen weights as they are in averages, resume in the epoch of the checkpoint, and validate the last epoch."""
        average_exactly(self.trainer)
        resume_exactly(self.trainer)
        validate_last_epoch(self.trainer)

    def on_train_start(self) -> None:
        """Start from the rates that a finder has set: Lightning gives all groups the same one until the first step.

        A run that resumes knows the metrics that its schedule reads, and accumulates as many batches as the epoch in which it does:
        Lightning's GradientAccumulationScheduler sets their number only at the start of an epoch.
        """
        self.trainer.callback_metrics.update(self._read_before)
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, GradientAccumulationScheduler):
                self.trainer.accumulate_grad_batches = callback.get_accumulate_grad_batches(self.current_epoch)
        if self._rates_changed:
            set_rates(self.trainer, self.rates)
            self._rates_changed = False

    def setup(self, stage: str) -> None:
        """Convert weights and tokens to the precisions ``frozen`` and ``residual``, and give the loss of a training its class weights.

        Raises:
            InputError: as :meth:`check_trainer` and :meth:`fit_loss_to`.
        """
        self.check_trainer(self.trainer)
        if stage == "fit":
            self.fit_loss_to(getattr(self.trainer, "datamodule", None))
        if self.frozen == "bf16":
            self.net.hold_frozen_in(torch.bfloat16)
        if self.residual == "bf16":
            self.net.narrow_residual()

    def fit_loss_to(self, data: object) -> None:
        """Give the loss its class weights, and check that it accepts the labels of the data, which may be soft.

        Raises:
            InputError: as :func:`peclip.train.class_weights.loss_of`.
        """
        tried = type(self).training_step is PEClipModule.training_step
        self.loss = loss_of(self._unweighted, self.class_weights, self.net.labels, data, tried)

    def check_trainer(self, trainer: Trainer) -> None:
        """Check that a trainer has the precision and the strategy that ``frozen``, ``residual`` and ``sharded`` need.

        Raises:
            InputError: the trainer has another precision or strategy.
        """
        check_strategy(trainer, self.sharded)
        check_precision(str(trainer.precision), self.frozen, self.residual)

    def configure_model(self) -> None:
        """Shard the frozen weights over the devices if ``sharded`` is set."""
        if self.sharded:
            _ = self.flops  # operations cannot be counted afterwards
            shard(self.trainer, self, self.net)

    @property
    def image_size(self) -> int:
        """Side of the frames of the model, in pixels."""
        return self.net.image_size

    @cached_property
    def flops(self) -> int | None:
        """Floating-point operations of a clip in an evaluation, see :func:`peclip.model.arithmetic.clip_flops`."""
        return clip_flops(self.net)

    @property
    def monitors(self) -> list[str]:
        """Names of the scores by which the best checkpoint can be chosen."""
        recalls = [f"val/recall/{label}" for label in self.net.labels]
        return ["val/score", "val/war", "val/uar", *recalls, "val/loss", "train/loss_epoch", "train/war", "train/loss"]

    def on_train_epoch_start(self) -> None:
        """Forget the training clips of an epoch that ended before its last batch."""
        self.train_means.reset()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the random numbers of a model with dropout by the step, so that a resumed run draws the same numbers."""
        if self.net.draws:
            seed = getattr(self.trainer.datamodule, "seed", 0)  # type: ignore[attr-defined]
            place = (seed, self.current_epoch, batch_idx, self.global_rank)
            torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a training batch: the mean over the clips of all ranks."""
        logits = self.net(batch.video).float()
        label, other, weight = batch.label, batch.other_label, batch.weight
        total = total_loss(self.loss, logits, label, batch.target)
        if other is not None and weight < 1:
            total = weight * total + (1 - weight) * total_loss(self.loss, logits, other, batch.other_target)
        loss = mean_over_ranks(total, (label != NO_INDEX).sum())
        self.train_means.update(loss, logits, label if other is None or weight >= 0.5 else other)
        self.log("train/loss", loss, on_step=True, on_epoch=False, batch_size=len(logits))
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log the results over the training clips with the last batch of an epoch, before callbacks print them."""
        if self.trainer.is_last_batch:
            self._log_train_means()
            self.train_means.reset()

    def on_train_epoch_end(self) -> None:
        """Log the results over the training clips of an epoch that ends before its last batch; step a schedule that reads a metric.

        Such an epoch continues if the training resumes with more steps, and then counts these clips too.
        """
        if self.train_means:
            self._log_train_means()
        if self._steps_plateaus:
            step_plateaus(self.trainer)

    def lr_scheduler_step(self, scheduler: Scheduler, metric: Any) -> None:
        """Step a schedule, unless it was stepped at the end of the epoch."""
        if not self._steps_plateaus or all(each.scheduler is not scheduler for each in plateaus(self.trainer)):
            super().lr_scheduler_step(scheduler, metric)

    @property
    def _steps_plateaus(self) -> bool:
        """True if this class steps the schedules that read a metric; if a derived class overrides these hooks, Lightning does."""
        names = ("configure_optimizers", "lr_scheduler_step", "on_train_epoch_end")
        return all(getattr(type(self), name) is getattr(PEClipModule, name) for name in names)

    def _log_train_means(self) -> None:
        means = self.train_means.compute(self.device)
        self.log_dict(means, on_step=False, on_epoch=True, batch_size=1, **SAME_ON_ALL_RANKS)

    def configure_optimizers(self) -> Any:
        """Return the optimizer over the parameter groups, and the schedule of the learning rates.

        Raises:
            InputError: as :meth:`parameter_groups`; a custom optimizer states a rate; the schedule has no end or no metric.
        """
        groups = self.parameter_groups()
        optimizer = self.optimizer(groups) if self.optimizer else self._adamw(groups)
        check_rate(optimizer)
        name = "lr" if len(groups) > 1 else f"lr/{groups[0]['name']}"
        return {"optimizer": optimizer, "lr_scheduler": {"name": name, **self._schedule(optimizer)}}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the groups of :attr:`rates`; see :func:`peclip.train.parameters.parameter_groups`."""
        return parameter_groups(self.net, self.rates)

    def _adamw(self, groups: list[dict[str, Any]]) -> Optimizer:
        precision, clips = self.trainer.precision, bool(self.trainer.gradient_clip_val)
        # In mixed precision Lightning does not clip the gradients of a fused optimizer.
        fused = precision == "32-true" or (precision == "bf16-mixed" and not clips)
        return torch.optim.AdamW(groups, weight_decay=self.weight_decay, fused=fused)

    def _schedule(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return Lightning's description of the schedule: a custom one steps by epochs, the rate schedule by steps."""
        if self.lr_scheduler:
            self.rate_schedule.say_replaced()
            scheduler = with_own_rates(self.lr_scheduler, optimizer)
            return described(scheduler, self.monitors, self.trainer.check_val_every_n_epoch or 1)
        total = self.trainer.estimated_stepping_batches
        if math.isinf(total):
            raise InputError("the schedule needs an end: set trainer.max_epochs or trainer.max_steps")
        self.trainer.fit_loop.setup_data()  # with max_steps alone, Lightning has not counted the batches yet
        epoch = max(math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches), 1)
        return {"scheduler": self.rate_schedule.scheduler(optimizer, epoch, int(total)), "interval": "step"}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save only the trainable weights, including those of a callback that averages them, and the configuration of the model."""
        checkpoint |= to_checkpoint(without_frozen(checkpoint, self.net.to_trained()))
        checkpoint["train_means"] = self.train_means.of_all_ranks(self.device)
        checkpoint["read_by_schedules"] = read_by_plateaus(self.trainer)

    def load_trained(self, trained: Trained) -> None:
        """Load the weights of a trained model with the same labels, texts, backbone, adapters and prompts.

        Raises:
            InputError: one of these differs, or weights of this model are missing.
        """
        with options_below("net"):
            self.net.load_trained(trained)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Load a checkpoint of the same model, and the training metrics of an interrupted epoch.

        Raises:
            InputError: the checkpoint is not peclip's, was trained for another model, or lacks weights of this one.
        """
        if "train_means" in checkpoint:
            self.train_means.restore(checkpoint["train_means"], first=self.global_rank == 0)
        self._read_before = {
            name: torch.tensor(value, dtype=torch.float64)
            for name, value in checkpoint.get("read_by_schedules", {}).items()
        }
        self.load_trained(from_checkpoint(checkpoint, "the checkpoint"))
        restore_averages(checkpoint, self.state_dict() if self.is_fitting else None)
        if self._trainer is None:  # load_from_checkpoint warns of all weights that a file lacks: those of the backbone
            checkpoint["state_dict"] = self.state_dict()
