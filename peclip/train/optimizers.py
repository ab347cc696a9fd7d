"""Optimizers and schedules that a configuration names in place of those of PE-CLIP."""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.types import LRSchedulerConfig
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from peclip.errors import InputError, listed
from peclip.train.cluster.ranks import say_once

Scheduler = LRScheduler | ReduceLROnPlateau


def check_custom(
    groups: list[dict[str, Any]],
    optimizer: Callable[[Any], Optimizer] | None,
    lr_scheduler: Callable[[Optimizer], Scheduler] | None,
    scores: Sequence[str],
) -> None:
    """Build a custom optimizer and schedule once, so that a fault is found before a folder is made for the run.

    Args:
        groups: groups of the parameters, as the optimizer gets them.
        optimizer: callable of the groups; None for the default.
        lr_scheduler: callable of the optimizer; None for the default.
        scores: names of the metrics that a schedule may read.

    Raises:
        InputError: as :func:`check_rate` and :func:`described`, or one of them cannot be built.
    """
    built = optimizer(groups) if optimizer else SGD(groups)
    check_rate(built)
    if lr_scheduler:
        described(lr_scheduler(built), scores)


def check_rate(optimizer: Optimizer) -> None:
    """Check that an optimizer sets no learning rate, which would have no effect: each group carries one.

    Raises:
        InputError: the optimizer sets one.
    """
    known = signature(type(optimizer)).parameters.get("lr")
    stated = optimizer.defaults.get("lr")
    if known and known.default is not known.empty and stated != known.default:
        raise InputError(
            f"optimizer {type(optimizer).__name__} has lr {stated}, but every group of parameters has a rate of its own: set "
            "lr_adapters, lr_prompts and the others instead",
            "optimizer",
            "lr_adapters",
            "lr_prompts",
        )


def with_own_rates(lr_scheduler: Callable[[Optimizer], Scheduler], optimizer: Optimizer) -> Scheduler:
    """Return a custom schedule, and print the rates of the groups that have no effect, because it starts from its own.

    OneCycleLR and CyclicLR start from a ``max_lr`` or ``base_lr`` in place of the rates of the optimizer.
    """
    before = [group["lr"] for group in optimizer.param_groups]
    scheduler = lr_scheduler(optimizer)
    replaced = [
        f"lr_{group['name']} {rate}"
        for group, rate in zip(optimizer.param_groups, before, strict=True)
        if "name" in group and group.get("initial_lr", rate) != rate
    ]
    if replaced:
        name = type(scheduler).__name__
        say_once(f"Without effect, because {name} has rates of its own: {listed(replaced)}")
    return scheduler


def described(scheduler: Scheduler, scores: Sequence[str], epochs: int = 1) -> dict[str, Any]:
    """Return Lightning's description of a custom schedule, which steps by epochs.

    Args:
        scheduler: scheduler of torch, or Lightning's ReduceLROnPlateau, which has a ``monitor``.
        scores: names of the metrics that it may read.
        epochs: number of epochs from one validation to the next, after which a schedule that reads scores steps.

    Raises:
        InputError: a ReduceLROnPlateau has no metric to read, or one that is not logged.
    """
    monitor = getattr(scheduler, "monitor", None)
    if isinstance(scheduler, ReduceLROnPlateau) and monitor not in scores:
        kind = "lightning.pytorch.cli.ReduceLROnPlateau"
        raise InputError(
            f"lr_scheduler ReduceLROnPlateau reads {monitor!r}: name {kind}, and set its monitor to one of {listed(scores)}",
            "lr_scheduler",
        )
    frequency = epochs if str(monitor).startswith("val/") else 1
    return {"scheduler": scheduler, "interval": "epoch", "frequency": frequency, "monitor": monitor}


def plateaus(trainer: Trainer) -> list[LRSchedulerConfig]:
    """Return the schedules of a trainer that read a metric at the end of an epoch."""
    return [each for each in trainer.lr_scheduler_configs if each.reduce_on_plateau and each.interval == "epoch"]


def step_plateaus(trainer: Trainer) -> None:
    """Step the schedules that read a metric, at the end of an epoch and before its checkpoint is written.

    Lightning steps them after that checkpoint, and not at all in the epoch in which a run resumes, which would change the rates.
    """
    for each in plateaus(trainer) if trainer.is_last_batch else ():
        value = trainer.callback_metrics.get(str(each.monitor))
        if value is not None and (trainer.current_epoch + 1) % each.frequency == 0:
            each.scheduler.step(value)  # type: ignore[arg-type]  # torch gives other schedules a number of epochs there


def read_by_plateaus(trainer: Trainer) -> dict[str, float]:
    """Return the metrics that the schedules read, as far as they are known: a run may resume after the validation of an epoch."""
    known, names = trainer.callback_metrics, [str(each.monitor) for each in plateaus(trainer)]
    return {name: float(known[name]) for name in names if name in known}
