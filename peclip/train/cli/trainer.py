"""Adapt the options of Lightning's Trainer to peclip."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jsonargparse import Namespace
from lightning.fabric.plugins import CheckpointIO
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ProgressBar

from peclip.data.datamodule import VideoDataModule
from peclip.errors import InputError, counted, in_one_line, listed, options_below
from peclip.model.device import best_precision
from peclip.results.options import by_name
from peclip.train.cluster.ranks import say_once
from peclip.train.module import PEClipModule
from peclip.train.runs.checkpoint_io import SyncedIO
from peclip.train.runs.record import recorded_options
from peclip.train.runs.resume import Interrupted

LOG_EVERY = 10
"""Steps between two rows of the metrics of a training, unless the user states another number."""

MEETING = (("MASTER_ADDR",), ("MASTER_PORT",), ("NODE_RANK", "GROUP_RANK"))
"""Variables by which the processes that Lightning starts on several nodes meet, each with others that do as well."""

MONITORING = (Checkpoint, EarlyStopping)
"""Callbacks that read a metric by its name, ``monitor``."""


def imply_barebones(trainer: Namespace) -> None:
    """Switch off peclip's defaults that ``barebones`` excludes, as Lightning does with its own."""
    if trainer.barebones:
        trainer.logger = trainer.logger if isinstance(trainer.logger, Namespace | list) else False
        trainer.enable_checkpointing = trainer.enable_checkpointing or False
        if trainer.log_every_n_steps == LOG_EVERY:
            trainer.log_every_n_steps = 0


def imply_dry_run(trainer: Namespace) -> None:
    """Keep a logger in a dry run: Lightning replaces it by one that writes nothing; without any, results would go to the run's folder."""
    if trainer.fast_dev_run and not trainer.barebones:
        trainer.logger = None if trainer.logger is False else trainer.logger


def let_finders_evaluate(trainer: Namespace) -> None:
    """Let finders of a batch size find ``eval_batch_size``, the option of evaluations, in place of ``batch_size``."""
    for callback in entries(trainer.callbacks):
        given = callback.get("init_args") or {}
        if given.get("batch_arg_name") == "batch_size":
            given["batch_arg_name"] = "eval_batch_size"


def dry_run_note(trainer: Trainer) -> str:
    """Return a line that says that an evaluation is a dry run; empty if it is not."""
    batches = int(trainer.fast_dev_run)  # type: ignore[attr-defined]
    return f"fast_dev_run: a dry run of {counted(batches, 'batch')}; nothing is saved" if batches else ""


def precision_of(trainer: Namespace, resumed: Interrupted | None) -> str:
    """Return the precision: that of the options, or of the run that resumes, or the best of this machine."""
    recorded = dict(by_name(recorded_options(resumed))) if resumed else {}
    return trainer.precision or recorded.get("trainer.precision") or best_precision(trainer.accelerator)


def entries(option: Any) -> list[Any]:
    """Return the entries of an option that holds one object, a list of them, or none."""
    return [*option] if isinstance(option, list) else [] if option is None else [option]


def plugins(named: list[Any]) -> list[Any]:
    """Return the plugins that the options name, with the writer of checkpoints.

    Raises:
        InputError: another writer of checkpoints is among them.
    """
    for plugin in named:
        if isinstance(plugin, CheckpointIO):
            raise InputError(
                f"trainer.plugins names {type(plugin).__name__}, but checkpoints are written by SyncedIO alone, complete or not at "
                "all, because an interrupted run resumes from them: omit it"
            )
    return [*named, SyncedIO()]


def replace_bar(own: list[Callback], named: list[Callback]) -> dict[str, Any]:
    """Remove peclip's own progress bar if the options name one.

    Args:
        own: callbacks of peclip; the list is changed.
        named: callbacks of the options.

    Returns:
        Arguments of the Trainer that show the bar, even if the output is not a terminal.
    """
    if not any(isinstance(callback, ProgressBar) for callback in named):
        return {}
    own[:] = [callback for callback in own if not isinstance(callback, ProgressBar)]
    return {"enable_progress_bar": True}


def without_limit(trainer: Namespace) -> dict[str, Any]:
    """Return the argument of the Trainer for options that limit neither epochs nor steps, for which Lightning assumes 1,000 epochs."""
    return {"max_epochs": -1} if trainer.max_epochs is None and trainer.max_steps == -1 else {}


def check_monitors(callbacks: list[Callback], module: PEClipModule, scores: list[str]) -> None:
    """Check, before the first epoch, that the metric that each callback of the options reads is logged.

    Args:
        callbacks: callbacks of the options.
        module: module, whose ``monitors`` names the metrics that it logs.
        scores: names of the metrics, besides the learning rates.

    Raises:
        InputError: a metric is not logged.
    """
    rates = [f"lr/{group['name']}" for group in module.parameter_groups()]
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None) if isinstance(callback, MONITORING) else None
        if monitor is not None and monitor not in (*scores, *rates):
            raise InputError(
                f"trainer.callbacks: the monitor of {type(callback).__name__} is {monitor!r}, which {type(module).__name__} does "
                f"not log here, expected one of {listed([*scores, *rates])}"
            )


def logged_scores(module: PEClipModule, data: VideoDataModule, trainer: Trainer) -> list[str]:
    """Return the scores that callbacks and schedules can read: without validation, none of a validation."""
    with options_below("data"):
        validates = data.selection != "none" and trainer.limit_val_batches
    return [name for name in module.monitors if validates or not name.startswith("val/")]


@contextmanager
def refused(trainer: Namespace) -> Iterator[None]:
    """Add the options of Lightning's Trainer to its errors.

    Raises:
        InputError: the options cannot be combined, or a device or a package is missing.
    """
    try:
        yield
    except InputError:
        raise
    except (ImportError, MisconfigurationException, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"cannot create a trainer with trainer.accelerator {trainer.accelerator}, trainer.devices {trainer.devices}, "
            f"trainer.strategy {trainer.strategy} and trainer.precision {trainer.precision}: {in_one_line(error)}"
        ) from error


def fits_cluster(trainer: Trainer) -> Trainer:
    """Return the trainer after checking that SLURM or torchrun has started a process for each of its devices.

    Raises:
        InputError: nothing says where several nodes meet.
        ValueError: the numbers differ; Lightning's message names both.
    """
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if environment:
        environment.validate_settings(num_devices=trainer.num_devices, num_nodes=trainer.num_nodes)
    by_lightning = trainer.num_nodes > 1 and isinstance(environment, LightningEnvironment)
    missing = [name for name, *others in MEETING if not any(map(os.environ.get, (name, *others)))]
    if by_lightning and missing:  # each node would wait for the others in vain
        raise InputError(
            f"trainer.num_nodes is {trainer.num_nodes}, but nothing says where the nodes meet: start with srun or torchrun, or set "
            f"{listed(missing)} on each node (address and a free port of the first node, number of the node from 0)"
        )
    return trainer


def say_where_nodes_meet(trainer: Trainer) -> None:
    """Say that a training or an evaluation on several nodes begins when the processes of all of them are there."""
    if trainer.num_nodes > 1:
        place: Any = trainer.strategy.cluster_environment  # type: ignore[attr-defined]  # strategies of several nodes have one
        say_once(f"Waiting for the processes of {trainer.num_nodes} nodes at {place.main_address}:{place.main_port}")
