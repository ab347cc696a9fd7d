"""Schedule the learning rates of PE-CLIP: a linear warm-up, then a cosine to zero or a decay in steps."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Literal, get_args

from lightning.pytorch import Trainer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from peclip.errors import InputError, check_choice, check_not_negative, listed
from peclip.train.cluster.ranks import say_once

Schedule = Literal["cosine", "step"]


@dataclass(frozen=True)
class RateSchedule:
    """Schedule of the learning rates of a training (PE-CLIP, section 4).

    Attributes:
        warmup_epochs: epochs of linear warm-up; at least 0.
        warmup_lr: learning rate at the start of the warm-up; at least 0.
        schedule: shape of the rates after the warm-up: ``cosine`` to zero, or ``step``.
        step_epochs: number of epochs between two decays of schedule step; at least 1.
        step_factor: factor of the rates at each decay of schedule step; above 0, at most 1.

    Raises:
        InputError: a value is out of range.
    """

    warmup_epochs: float = 3.0
    warmup_lr: float = 2e-5
    schedule: Schedule = "cosine"
    step_epochs: int = 8
    step_factor: float = 0.5

    def __post_init__(self) -> None:
        check_choice("schedule", self.schedule, get_args(Schedule))
        for name in ("warmup_epochs", "warmup_lr"):
            check_not_negative(name, getattr(self, name))
        if self.step_epochs < 1:
            raise InputError(f"step_epochs is {self.step_epochs}, expected at least 1", "step_epochs")
        if not 0 < self.step_factor <= 1:
            raise InputError(
                f"step_factor is {self.step_factor}, expected a number above 0 and at most 1", "step_factor"
            )

    def say_replaced(self) -> None:
        """Print the values that differ from the defaults, and have no effect because a custom scheduler replaces this one."""
        stated = [
            f"{each.name} {value}" for each in fields(self) if (value := getattr(self, each.name)) != each.default
        ]
        if stated:
            say_once(f"Without effect, because lr_scheduler replaces the schedule: {listed(stated)}")

    def scheduler(self, optimizer: Optimizer, epoch: int, total: int) -> LambdaLR:
        """Return a scheduler that steps with every step of the optimizer.

        Args:
            optimizer: optimizer with a rate for each of its groups.
            epoch: number of steps of an epoch, at least 1.
            total: number of steps of the training.
        """
        factors: list[Callable[[int], float]] = [
            partial(self._factor, optimizer=optimizer, group=group, epoch=epoch, total=total)
            for group in range(len(optimizer.param_groups))
        ]
        return LambdaLR(optimizer, factors)

    def _factor(self, step: int, optimizer: Optimizer, group: int, epoch: int, total: int) -> float:
        """Return the factor of the initial rate of a group at a step; a checkpoint may change the initial rate."""
        warmup = round(self.warmup_epochs * epoch)
        if step < warmup:
            lr = optimizer.param_groups[group]["initial_lr"]
            start = min(self.warmup_lr / lr, 1.0) if lr else 1.0
            return start + (1 - start) * step / warmup
        if self.schedule == "step":
            return self.step_factor ** (step // (self.step_epochs * epoch))
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))


def set_rates(trainer: Trainer, rates: Mapping[str, float]) -> None:
    """Set the initial learning rates of a training's parameter groups, and the current rates that its schedule derives from them.

    Args:
        trainer: trainer of the training, which may have no optimizer yet.
        rates: learning rates, by the name of the group.
    """
    for optimizer in trainer.optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"] = rates[group["name"]]
    for config in trainer.lr_scheduler_configs:
        scheduler = config.scheduler
        groups = scheduler.optimizer.param_groups
        scheduler.base_lrs = [group["initial_lr"] for group in groups]
        if isinstance(scheduler, LambdaLR):
            for group, factor in zip(groups, scheduler.lr_lambdas, strict=True):
                group["lr"] = group["initial_lr"] * factor(scheduler.last_epoch)
