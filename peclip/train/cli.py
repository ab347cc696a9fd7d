"""The training half of the command: Lightning's subcommands over PEClipModule and VideoDataModule."""

from typing import Any, NoReturn

import transformers
from jsonargparse import Namespace
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger

from peclip.data.datamodule import VideoDataModule
from peclip.errors import InputError
from peclip.train.callbacks import EpochLines, PredictionWriter, Progress, Report, Summary
from peclip.train.module import PEClipModule

RUNS = "runs"


class Parser(LightningArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say what is wrong, without the usage, and end with status 2."""
        lines = [line.strip(" -") for line in message.splitlines() if line.strip()]
        raise InputError(f"{' '.join(lines)}; see {self.prog.replace(' [options]', '')} --help")


class SaveConfig(SaveConfigCallback):
    """Saves the configuration of a run with the labels that the data gave, so that it stands on its own."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Complete the configuration and save it."""
        self.config.data.labels = trainer.datamodule.labels
        super().setup(trainer, pl_module, stage)


class PEClipCLI(LightningCLI):
    """``peclip fit|validate|test|predict``."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add peclip's own options and link what has one home."""
        parser.add_argument("--name", default="peclip", help=f"Name of the run: it lives in {RUNS}/NAME/VERSION/.")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults(
            {
                "checkpoint.monitor": "val/score",
                "checkpoint.mode": "max",
                "checkpoint.filename": "best",
                "checkpoint.save_last": True,
                "checkpoint.enable_version_counter": False,
            }
        )
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
        parser.link_arguments("data.labels", "model.net.labels", apply_on="instantiate")

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return the subcommands; checkpoints are always read with weights_only."""
        return {name: skip | {"weights_only"} for name, skip in LightningCLI.subcommands().items()}

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the arguments; called from Python with a list as well as from the shell."""
        self.config = parser.parse_args(args)

    def before_instantiate_classes(self) -> None:
        """Put the run into its folder: a CSV logger comes first whatever other loggers there are."""
        config = self.config[self.subcommand]
        loggers = config.trainer.logger
        if loggers is False:
            return
        own = Namespace(
            class_path=f"{CSVLogger.__module__}.{CSVLogger.__name__}",
            init_args=Namespace(save_dir=RUNS, name=config.name),
        )
        listed = [] if loggers in (None, True) else loggers if isinstance(loggers, list) else [loggers]
        if not any(logger.class_path.endswith("CSVLogger") for logger in listed):
            listed = [own, *listed]
        config.trainer.logger = listed

    def before_fit(self) -> None:
        """Keep the last checkpoint where there is nothing to choose the best by."""
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
        if self.trainer.is_global_zero and self.trainer.log_dir:
            print(f"The run is in {self.trainer.log_dir}")

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand in ("validate", "test"):
            kwargs["verbose"] = False  # the report prints the results
        return kwargs | {"weights_only": True}


def run(args: list[str]) -> None:
    """Run one of Lightning's subcommands.

    Raises:
        InputError: a user's mistake.
    """
    transformers.logging.disable_progress_bar()
    callbacks = [Summary(), Progress(), EpochLines(), Report(), PredictionWriter(), LearningRateMonitor("step")]
    PEClipCLI(
        PEClipModule,
        VideoDataModule,
        save_config_callback=SaveConfig,
        trainer_defaults={"callbacks": callbacks, "use_distributed_sampler": False, "enable_model_summary": False},
        seed_everything_default=0,
        parser_class=Parser,
        auto_configure_optimizers=False,
        args=args,
    )
