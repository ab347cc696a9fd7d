"""Check options before anything is built or written."""

import math
from collections.abc import Collection
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging, WeightAveraging

from peclip.data.source import Splits
from peclip.errors import InputError

SEEDS = 2**32
"""Number of seeds that NumPy accepts, from 0."""

LIMITS = {"validate": "limit_val_batches", "test": "limit_test_batches", "predict": "limit_predict_batches"}
"""The option that limits the clips of each evaluation."""

PARTS = {
    "adapters": "adapters",
    "prompts": "prompts",
    "temporal": "temporal head",
    "peft": "layers of PEFT",
    "norms": "norms of the backbone",
}
"""Kinds of parts that train, each with its learning rate, and their names in messages."""

SCORES = ("war", "uar", "score")
"""Ends of the names of scores that are better if they are higher."""

OF_THE_RUN = ("last", "previous", ".next")
"""Names of the other checkpoints of a run."""

SCHEDULE = ("warmup_epochs", "warmup_lr", "schedule", "step_epochs", "step_factor")
"""Options of the model for the rates over time."""


def check_values(options: Namespace, subcommand: str) -> None:
    """Check values that Lightning accepts unchecked and that would fail later or mean something else.

    Raises:
        InputError: a value is out of range.
    """
    training = subcommand == "fit"
    seed, name, trainer = options.seed_everything, options.name, options.trainer
    if not 0 <= seed < SEEDS:
        raise InputError(f"seed_everything is {seed}, expected 0 to {SEEDS - 1}")
    if name in ("", ".") or Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(f"name is {name!r}, expected the name of a folder below runs")
    for option in ("folder", "out", "shards"):
        if "://" in (options.get(option) or ""):
            raise InputError(f"{option} is the address {options[option]}, expected a folder of this machine")
    for option in ("ckpt_path", "init_from"):
        if options[option] == "":
            models = "a run, a .ckpt, a package or its Hub id, or a released .pth"
            named = "last, a run or a .ckpt" if training and option == "ckpt_path" else models
            raise InputError(f"{option} is empty: name {named}, or omit it")
    _check_trainer_values(trainer)
    if training and 0 in (trainer.max_epochs, trainer.max_steps):
        name = "max_epochs" if trainer.max_epochs == 0 else "max_steps"
        raise InputError(f"trainer.{name} is 0: nothing would be trained; peclip test evaluates a model as it is")
    if training and trainer.limit_train_batches is not None and not trainer.limit_train_batches > 0:
        raise InputError(f"trainer.limit_train_batches is {trainer.limit_train_batches}: no batch remains to train on")
    limit = LIMITS.get(subcommand, "")
    if limit and trainer[limit] == 0:
        raise InputError(f"trainer.{limit} is 0: peclip {subcommand} would evaluate no clip; omit it")


def _check_trainer_values(trainer: Namespace) -> None:
    """Check options of the trainer whose range is the same for all subcommands.

    Raises:
        InputError: an option is out of range, or has no effect.
    """
    for option in ("limit_train_batches", "limit_val_batches"):
        if trainer.overfit_batches and trainer[option] is not None:  # Lightning drops it
            raise InputError(
                f"trainer.{option} is {trainer[option]}, but trainer.overfit_batches is {trainer.overfit_batches}, which sets the "
                "number of training and validation batches itself: omit one of them"
            )
    if trainer.accumulate_grad_batches < 1:
        raise InputError(f"trainer.accumulate_grad_batches is {trainer.accumulate_grad_batches}, expected at least 1")
    if trainer.use_distributed_sampler:
        raise InputError("trainer.use_distributed_sampler is true, but peclip distributes the clips itself: omit it")
    for name in ("val_check_interval", "check_val_every_n_epoch"):
        if trainer[name] == 0:
            raise InputError(f"trainer.{name} is 0, expected more; trainer.limit_val_batches 0 omits validation")
    for name in ("gradient_clip_val", "check_val_every_n_epoch", "log_every_n_steps"):
        if isinstance(trainer[name], int | float) and trainer[name] < 0:  # Lightning would use it as another number
            raise InputError(f"trainer.{name} is {trainer[name]}, expected no negative number")
    if trainer.default_root_dir is not None:
        raise InputError(
            "trainer.default_root_dir has no effect: name the folder of a run with --folder, or of results with --out"
        )


def check_fractions(trainer: Namespace | Trainer, splits: Splits, at_once: int, evaluated_at_once: int) -> None:
    """Check that the share of the batches that a training uses of each split is at least one batch.

    Lightning checks that of the test clips only after the training.

    Args:
        trainer: trainer of the training, or its options.
        splits: the clips.
        at_once: training clips of a batch, over all devices; the data module refuses numbers below 1.
        evaluated_at_once: validation or test clips of a batch, over all devices.

    Raises:
        InputError: a share is less than one batch.
    """
    sizes = {"train": at_once, "val": evaluated_at_once, "test": evaluated_at_once}
    for split, size in sizes.items():
        option = f"limit_{split}_batches"
        if split != "test" and trainer.overfit_batches:  # type: ignore[union-attr]
            option = "overfit_batches"
        share, batches = getattr(trainer, option), math.ceil(len(getattr(splits, split)) / max(size, 1))
        if isinstance(share, float) and share > 0 and batches and int(share * batches) == 0:
            number = f"{batches} batch" + "es" * (batches > 1)
            raise InputError(
                f"trainer.{option} is {share}, and this share of {number} is less than one: set a larger one, or a number of batches"
            )


def check_checkpoint(given: Namespace) -> None:
    """Check the options of the best checkpoint of a new run; one that resumes keeps its own.

    Raises:
        InputError: the checkpoint would not be the best one, or not be found in the run.
    """
    better = (
        "min" if str(given.monitor).endswith("loss") else "max" if str(given.monitor).endswith(SCORES) else given.mode
    )
    if given.mode != better:
        raise InputError(
            f"checkpoint.mode is {given.mode}, but the best {given.monitor} is the {better}imum: set it to {better}"
        )
    if given.dirpath is not None:
        raise InputError(
            "checkpoint.dirpath has no effect: the checkpoints of a run are in its folder; name that with --folder"
        )
    if given.filename in OF_THE_RUN:
        raise InputError(
            f"checkpoint.filename is {given.filename}, the name of another file of the run: choose another"
        )
    is_one_name = given.filename is not None and "{" not in given.filename and not given.enable_version_counter
    if given.save_top_k not in (0, 1) and is_one_name:
        raise InputError(
            f"checkpoint.save_top_k is {given.save_top_k}, but each checkpoint would replace the one before: set "
            "checkpoint.filename to a pattern, such as '{epoch}'"
        )


def check_words(options: Namespace, subcommand: str, named: AbstractSet[str]) -> None:
    """Check that options are valid for this subcommand.

    Args:
        options: options of the subcommand.
        subcommand: name of the subcommand.
        named: options on the command line, such as ``--init_from``.

    Raises:
        InputError: an option belongs to another subcommand, or to the command line alone.
    """
    if subcommand == "fit" and options.seeds is not None:
        raise InputError("seeds is an option of the command line of peclip fit alone: set it there with --seeds")
    if subcommand != "fit" and "--init_from" in named:
        raise InputError(f"--init_from is an option of fit: name the model of peclip {subcommand} with --ckpt_path")


def check_effects(options: Namespace, named: AbstractSet[str], parts: Collection[str]) -> None:
    """Check that options on the command line of a training have an effect; a configuration may serve several models.

    Args:
        options: options of the training.
        named: options on the command line.
        parts: kinds of parts that the model trains, such as ``adapters``.

    Raises:
        InputError: an option has no effect.
    """
    model = options.model.get("init_args", options.model)
    is_replaced, is_cosine = model.get("lr_scheduler") is not None, model.get("schedule") == "cosine"
    idle = {f"lr_{part}": f"the model trains no {words}" for part, words in PARTS.items() if part not in parts}
    if is_replaced:
        idle |= dict.fromkeys(SCHEDULE, "model.lr_scheduler replaces the warm-up and the schedule")
    elif is_cosine:
        idle |= dict.fromkeys(("step_epochs", "step_factor"), "model.schedule is cosine")
    if not is_replaced and model.get("warmup_epochs") == 0:
        idle["warmup_lr"] = "model.warmup_epochs is 0"
    for name, why in idle.items():
        if option := next(
            (each for each in (f"model.{name}", f"model.init_args.{name}") if f"--{each}" in named), None
        ):
            raise InputError(f"{option} has no effect, because {why}: omit it")


def check_swa(trainer: Trainer) -> None:
    """Refuse averages that a training would neither test nor save.

    Raises:
        InputError: a callback of the trainer makes such averages.
    """
    if any(isinstance(callback, StochasticWeightAveraging) for callback in trainer.callbacks):  # type: ignore[attr-defined]
        raise InputError(
            "trainer.callbacks: StochasticWeightAveraging sets its averages after the last checkpoint, so they are neither tested nor "
            "saved: use lightning.pytorch.callbacks.EMAWeightAveraging or WeightAveraging"
        )


def check_averaging(trainer: Trainer, sharded: bool, weights_only: bool) -> None:
    """Check that checkpoints hold the averages of a callback that averages weights.

    Args:
        trainer: trainer, with its callbacks.
        sharded: whether the frozen weights are sharded.
        weights_only: whether checkpoints hold only the trained weights.

    Raises:
        InputError: checkpoints would not hold the averages.
    """
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    kinds = [type(callback).__name__ for callback in callbacks if isinstance(callback, WeightAveraging)]
    for option, value in {"model.sharded": sharded, "checkpoint.save_weights_only": weights_only}.items():
        if kinds and value:
            raise InputError(
                f"{option} is true, but {kinds[0]} needs complete checkpoints of weights that are not sharded: set it to false"
            )
