"""The training half of the command: Lightning's subcommands over PEClipModule and VideoDataModule."""

import logging
import sys
import warnings
from pathlib import Path
from typing import Any, TypeVar

import transformers
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from peclip.data.datamodule import VideoDataModule
from peclip.demo import TASKS, draw
from peclip.errors import InputError, OneLineErrors, in_one_line
from peclip.files import file_errors
from peclip.model.io.checkpoint import read_trained
from peclip.train.callbacks.console import EpochLines, Progress, Summary, TrainingTime
from peclip.train.callbacks.finite_loss import FiniteLoss
from peclip.train.callbacks.predictions import PredictionWriter
from peclip.train.callbacks.report import Report
from peclip.train.callbacks.skipped import SkippedClips
from peclip.train.cli.checks import (
    best_precision,
    check_callables,
    check_checkpoint,
    check_configs,
    check_folder,
    check_parts,
    check_values,
    fits_cluster,
    with_own_config,
)
from peclip.train.cluster.allocator import keep_freed_memory
from peclip.train.cluster.shutdown import ended_together
from peclip.train.cluster.signals import AskedToEnd, asked_to_end, usr1_as_sigterm
from peclip.train.module import PEClipModule
from peclip.train.part_writer import add_options, write_parts
from peclip.train.parts import check_prediction
from peclip.train.runs.checkpoints import BestCheckpoint, LastCheckpoint, SyncedIO
from peclip.train.runs.folder import RUNS, SaveConfig, own_logger
from peclip.train.runs.resume import Interrupted, interrupted_run, keep_metrics, remove_empty_run

Kind = TypeVar("Kind", bound="PEClipCLI")

GO_ON = "go on with --ckpt_path last"

CHECKPOINT = {
    "checkpoint.monitor": "val/score",
    "checkpoint.mode": "max",
    "checkpoint.filename": "best",
    "checkpoint.enable_version_counter": False,
}

NOISE = (
    r".*in eval mode at the start of training",  # CLIP is frozen on purpose
    r".*Total length of `(list|Stream)` across ranks is zero",  # there may be no validation clips, or no part left
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own affair
    r".*does not have many workers which may be a bottleneck",
    r".*is smaller than the logging interval",
    r".*your dataloader is not resumable",  # the order of the clips is told where the epoch was interrupted
    r".*irectory .* exists and is not empty",  # a run that goes on does so in its folder
)


class Parser(OneLineErrors, LightningArgumentParser):
    """A parser whose errors are one line."""


class PEClipCLI(LightningCLI):
    """``peclip fit|validate|test|predict``."""

    interrupted: Interrupted | None = None

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add peclip's own options and link what has one home."""
        parser.add_argument("--name", default="peclip", help=f"Name of the run: it lives in {RUNS}/NAME/VERSION/.")
        parser.add_argument(
            "--folder",
            type=str | None,
            default=None,
            help=f"Folder of the run, a new one, instead of {RUNS}/NAME/VERSION/.",
        )
        parser.add_lightning_class_args(BestCheckpoint, "checkpoint")
        parser.add_lightning_class_args(LastCheckpoint, "last")
        parser.set_defaults(CHECKPOINT)
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
        parser.link_arguments("data.labels", "model.net.labels", apply_on="instantiate")

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "predict":
            add_options(parser)
        return parser

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return the subcommands; checkpoints are always read with weights_only, and predictions go to files."""
        return {
            name: skip | {"weights_only", "return_predictions"} for name, skip in LightningCLI.subcommands().items()
        }

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the arguments. A source named on the command line replaces the one of the configuration."""
        check_configs(args)
        self.config = parser.parse_args(args)
        check_parts(self.config[self.config.subcommand].model.net)
        check_callables(self.config[self.config.subcommand].trainer, "trainer")
        check_values(self.config[self.config.subcommand], training=self.config.subcommand == "fit")
        data = self.config[self.config.subcommand].data
        named = {arg.partition("=")[0] for arg in args}
        if "--data.manifest" in named and not named & {"--data.root", "--data.benchmark"}:
            data.root = data.benchmark = None
        elif named & {"--data.root", "--data.benchmark"} and "--data.manifest" not in named:
            data.manifest = None

    def _parse_ckpt_path(self) -> None:
        """Leave the checkpoint alone: it holds no options, and is read with care where it is needed."""

    def before_instantiate_classes(self) -> None:
        """Choose the precision and the checkpoint, and put the run into its folder: a CSV logger comes first whatever others there are."""
        config = self.config[self.subcommand]
        draw_demo(config.data)
        trainer = config.trainer
        trainer.precision = trainer.precision or best_precision(trainer.accelerator)
        given = trainer.logger
        listed = [] if given in (None, True, False) else given if isinstance(given, list) else [given]
        csv = [logger for logger in listed if logger.class_path.endswith(CSVLogger.__name__)]
        place = csv[0].init_args if csv else Namespace(save_dir=RUNS, name=config.name)
        if self.subcommand == "fit" and config.ckpt_path:
            self._go_on(config, Path(place.save_dir, place.name or ""))
        parts = config.get("parts")
        if parts is not None:
            check_prediction(config, first=not getattr(rank_zero_only, "rank", 0))
            config.folder = config.folder or parts  # a start again makes no other one
        if given is False:
            return
        # On one rank only, because the others start after it has made the folder.
        if config.folder not in (None, parts) and not self.interrupted and not getattr(rank_zero_only, "rank", 0):
            check_folder(Path(config.folder))
        if self.interrupted:
            listed = [logger for logger in listed if logger not in csv]
        trainer.logger = listed if csv and not config.folder else [own_logger(config), *listed]

    def _go_on(self, config: Namespace, runs: Path) -> None:
        """Find the checkpoint that a training starts from; one of an interrupted run goes on in the folder of that run."""
        if config.ckpt_path != "last" and not Path(config.ckpt_path).is_dir():
            check_checkpoint(Path(config.ckpt_path))
            return
        run = interrupted_run(config.ckpt_path, runs, Path(config.folder) if config.folder else None)
        self.interrupted, config.ckpt_path = run, None
        if run:
            config.folder = str(run.folder)
            config.ckpt_path = run.checkpoint and str(run.checkpoint)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer.

        Raises:
            InputError: it cannot be as the options say; there is no such device, for example.
        """
        plugins = self._get(self.config_init, "trainer").plugins or []
        plugins = [*plugins] if isinstance(plugins, list) else [plugins]
        try:
            return fits_cluster(super().instantiate_trainer(**kwargs, plugins=[*plugins, SyncedIO()]))
        except (MisconfigurationException, RuntimeError, TypeError, ValueError) as error:
            given = self.config[self.subcommand].trainer
            raise InputError(
                f"no training with trainer.accelerator {given.accelerator}, trainer.devices {given.devices}, "
                f"trainer.strategy {given.strategy} and trainer.precision {given.precision}: {in_one_line(error)}"
            ) from error

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            with usr1_as_sigterm(), ended_together(self.trainer):
                super()._run_subcommand(subcommand)
        except InputError:
            self._drop_empty_run()
            raise
        except SIGTERMException as error:
            in_parts = self.config[subcommand].get("parts") and "the same command goes on"
            raise asked_to_end(self.trainer, GO_ON if subcommand == "fit" else in_parts) from error
        except RuntimeError as error:
            if message := self.datamodule.what_died(error):
                raise InputError(message) from error
            raise

    def _drop_empty_run(self) -> None:
        """Remove the folder of a run that failed before it left more than its configuration, and those made for it."""
        logger = self.trainer.logger
        if isinstance(logger, CSVLogger) and self.trainer.is_global_zero and not self.interrupted:
            remove_empty_run(Path(logger.log_dir), Path(RUNS))

    def predict(self, **kwargs: Any) -> None:
        """Predict, into one file or in parts, of which all may be there."""
        if write_parts(self.trainer, self.config.predict, self.datamodule, self.model):
            self.trainer.predict(**kwargs, return_predictions=False)

    def before_fit(self) -> None:
        """Check what the best checkpoint is chosen by, and keep the last one where there is nothing to choose by.

        Raises:
            InputError: there is no such score.
        """
        monitor = self.config.fit.checkpoint.monitor
        if monitor is not None and monitor not in (scores := self.model.monitors):
            raise InputError(f"checkpoint.monitor is {monitor!r}, expected one of {', '.join(scores)}")
        if self.datamodule.selection == "none":
            for callback in self.trainer.checkpoint_callbacks:
                if isinstance(callback, ModelCheckpoint):
                    callback.monitor = None

    def after_fit(self) -> None:
        """Evaluate the best checkpoint once: on the test clips, or on the validation clips where there are none."""
        keeper = self.trainer.checkpoint_callback
        best = keeper.best_model_path if isinstance(keeper, ModelCheckpoint) else ""
        splits = self.datamodule.splits
        run = self.trainer.test if len(splits.test) else self.trainer.validate if len(splits.val) else None
        if run and not self.trainer.interrupted:
            run(self.model, datamodule=self.datamodule, ckpt_path=best or None, weights_only=True, verbose=False)
        folder = self.trainer.log_dir  # asks all ranks
        if folder and self.trainer.is_global_zero:
            print(f"The run is in {folder}")

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand in ("validate", "test"):
            kwargs["verbose"] = False  # the report prints the results
        # What does not fit is found here, before a folder is made for the run.
        self.datamodule.setup(subcommand)
        if (size := self.datamodule.image_size) not in (None, self.model.image_size):
            raise InputError(f"data.image_size is {size}, but the backbone takes {self.model.image_size}: leave it out")
        if source := kwargs["ckpt_path"]:
            trained = read_trained(source)
            self.model.load_trained(trained)
            if (mode := trained.config["input"]["normalize"]) != self.datamodule.normalize:
                raise InputError(f"{source} was trained on frames with data.normalize: {mode}; give that")
        elif subcommand != "fit" and self.model.net.trainable_state() and self.trainer.is_global_zero:
            print("No ckpt_path is given: the adapters and prompts are untrained.")
        if subcommand != "fit":
            kwargs["ckpt_path"] = None
        if self.interrupted and isinstance(self.trainer.logger, CSVLogger) and self.trainer.is_global_zero:
            keep_metrics(self.interrupted, self.trainer.logger)  # now nothing more is refused
        return kwargs | {"weights_only": True}


def draw_demo(data: Namespace) -> None:
    """Draw the clips of the demo where the options of the data name it and they are not there."""
    if data.benchmark in TASKS and data.root:
        draw(data.benchmark, data.root)


def run(args: list[str]) -> None:
    """Run one of Lightning's subcommands.

    Raises:
        InputError: a user's mistake.
    """
    command(PEClipCLI, args)


def command(kind: type[Kind], args: list[str]) -> Kind:
    """Make Lightning's command of a kind, which runs the subcommand that the command line names; see :func:`run`."""
    keep_freed_memory()
    transformers.logging.disable_progress_bar()
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in NOISE:
        warnings.filterwarnings("ignore", message)
    terminal = sys.stdout.isatty()
    # The report comes last: where there is a metrics.json, the run is complete.
    callbacks: list[Callback] = [
        Summary(),
        LearningRateMonitor("step"),
        TrainingTime(),
        FiniteLoss(),
        SkippedClips(),
        AskedToEnd(),
        PredictionWriter(),
    ]
    callbacks.append(Report())
    callbacks.append(Progress() if terminal else EpochLines())
    defaults = {
        "callbacks": callbacks,
        "use_distributed_sampler": False,
        "enable_model_summary": False,
        "enable_progress_bar": terminal,
        "log_every_n_steps": 10,
    }
    try:
        with file_errors():
            return kind(
                PEClipModule,
                VideoDataModule,
                save_config_callback=SaveConfig,
                save_config_kwargs={"overwrite": True},
                trainer_defaults=defaults,
                seed_everything_default=0,
                parser_class=Parser,
                parser_kwargs={"prog": "peclip"},
                auto_configure_optimizers=False,
                args=with_own_config(args),
            )
    except MisconfigurationException as error:
        raise InputError(in_one_line(error)) from error
