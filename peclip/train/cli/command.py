"""Start the command line of training: its callbacks, the messages that it silences, and the options of a named model."""

import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback
from lightning.pytorch.cli import LightningArgumentParser

from peclip.data.datamodule import VideoDataModule
from peclip.errors import InputError, in_one_line
from peclip.files import file_errors
from peclip.guard import guarded
from peclip.model.device import keep_freed_memory
from peclip.model.io.spec import trusting
from peclip.parser_errors import OneLineErrors
from peclip.train.callbacks.console import EpochLines, Progress, StartSummary
from peclip.train.callbacks.finite_loss import FiniteLoss
from peclip.train.callbacks.predictions import PredictionWriter
from peclip.train.callbacks.report import Report
from peclip.train.callbacks.skipped import SkippedClips
from peclip.train.callbacks.training_time import TrainingTime
from peclip.train.cli.arguments import (
    check_configs,
    check_model,
    check_peft,
    check_seed,
    check_sites,
    classes_named,
    names_config,
    names_module,
    trusts_model,
    value_of,
    with_loggers,
)
from peclip.train.cli.lightning import PEClipCLI
from peclip.train.cli.options import dump_in_one_line
from peclip.train.cli.trained_model import TrainedModel, read_model, run_options
from peclip.train.cli.trainer import LOG_EVERY
from peclip.train.cluster.ranks import say_once
from peclip.train.cluster.signals import AskedToEnd
from peclip.train.module import PEClipModule
from peclip.train.runs.folder import RUNS
from peclip.train.runs.recorder import SaveConfig
from peclip.train.runs.resume import latest_model

Kind = TypeVar("Kind", bound=PEClipCLI)

NOISE = (
    r".*in eval mode at the start of training",  # CLIP is frozen on purpose
    r".*Total length of `(list|PredictLoader)` across ranks is zero",  # there may be no validation clips, or no missing shard
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated",  # raised inside Lightning
    r".*does not have many workers which may be a bottleneck",
    r".*is smaller than the logging interval",
    r".*your dataloader is not resumable",  # the checkpoint says where the epoch was interrupted
    r".*using the WeightAveraging callback with a model that overrides",  # sharded weights are refused
    r".*checkpoint was not created with WeightAveraging",  # an evaluation needs the averages alone
    r".*ModelCheckpoint\(monitor='val/score'\)` could not find",  # a line after the training says that nothing was validated
    r".*You are trying to `self\.log\(\)` but `Trainer\(barebones=True\)`",
    r".*GPU available but not used",  # Lightning says so with trainer.accelerator cpu, which the user has chosen
    r".*AccumulateGrad node's stream does not match",  # Lightning wraps a model for DDP in another stream
    r".*irectory .* exists and is not empty",  # a resumed run stays in its folder
)


class Parser(OneLineErrors, LightningArgumentParser):
    """A parser whose errors are one line."""


def run(args: list[str]) -> None:
    """Run one of Lightning's subcommands.

    Raises:
        InputError: a user's mistake.
    """
    command(PEClipCLI, args)


def command(kind: type[Kind], args: list[str], **more: Any) -> Kind:
    """Create the Lightning CLI of a class, which runs the subcommand of the command line; see :func:`run`.

    Args:
        kind: class of the CLI.
        args: subcommand and its command line.
        more: further arguments of the class.
    """
    _keep_quiet()
    check_configs(args)
    check_sites(args)
    check_seed(args)
    check_model(args)
    check_peft(args)
    args = with_loggers(args)
    with guarded(), trusting(classes_named(args), everything=trusts_model(args)):
        return _create(kind, args, **more)


def _create(kind: type[Kind], args: list[str], **more: Any) -> Kind:
    subcommand, *rest = args
    option = "--init_from" if subcommand == "fit" else "--ckpt_path"
    source = value_of(rest, option)
    if subcommand != "fit" and source == "last" and not Path(source).exists():
        source = str(latest_model(Path(RUNS, value_of(rest, "--name") or "peclip")))
        rest += [option, source]
        say_once(f"{option} last is {source}")
    named = read_model(source, option[2:]) if source else None
    terminal = sys.stdout.isatty()
    try:
        with file_errors():
            return kind(
                PEClipModule,
                VideoDataModule,
                model_named=named,
                only=subcommand if subcommand in kind.subcommands() else None,
                subclass_mode_model=names_module(rest),
                save_config_callback=SaveConfig,
                trainer_defaults=_trainer_defaults(
                    terminal, *((source, named) if subcommand != "fit" else (None, None))
                ),
                seed_everything_default=0,
                parser_class=Parser,
                parser_kwargs={"prog": "peclip", "allow_abbrev": False},
                auto_configure_optimizers=False,
                args=[subcommand, *_brought_along(named, source, rest), *rest],
                **more,
            )
    except MisconfigurationException as error:
        raise InputError(in_one_line(error)) from error


def _brought_along(named: TrainedModel | None, source: str | None, args: Sequence[str]) -> list[str]:
    """Return the options of the named model and of its run as configurations that precede all others."""
    if not named or source is None:
        return []
    configs = [named.options()]
    words = {arg.partition("=")[0] for arg in args}
    if named.option == "ckpt_path":
        has_config = names_config(args)
        other_data = has_config or bool(words & {"--data.manifest", "--data.root", "--data.benchmark"})
        options = run_options(source, other_data, trusts_model(args))
        # A configuration decides about the clips; the precision is that of the training unless the configuration sets it.
        configs.append({name: options[name] for name in options if name == "trainer"} if has_config else options)
    return [word for config in configs for word in ("--config", dump_in_one_line(config))]


def _keep_quiet() -> None:
    """Silence messages of Lightning that need no action; profilers and tuners still print results."""
    keep_freed_memory()
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # the error of a rank ends the others
    for name in ("profilers.profiler", "tuner.lr_finder", "tuner.batch_size_scaling"):
        logging.getLogger(f"lightning.pytorch.{name}").setLevel(logging.INFO)
    for message in NOISE:
        warnings.filterwarnings("ignore", message)
    # Building a model turns them into errors; the parser tries more.
    warnings.filterwarnings("ignore", module=r"peft\.")


def _trainer_defaults(terminal: bool, source: str | None, model: TrainedModel | None) -> dict[str, Any]:
    # The report comes last: a run with a metrics.json is complete.
    callbacks: list[Callback] = [
        StartSummary(),
        Progress() if terminal else EpochLines(),
        TrainingTime(),
        FiniteLoss(),
        SkippedClips(),
        AskedToEnd(),
        PredictionWriter(),
        Report(source, model.trained if model else None),
    ]
    return {
        "callbacks": callbacks,
        "use_distributed_sampler": False,
        "enable_model_summary": False,
        "enable_progress_bar": terminal,
        "log_every_n_steps": LOG_EVERY,
    }
