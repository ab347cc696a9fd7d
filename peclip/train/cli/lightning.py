"""The training half of the command: Lightning's subcommands over PEClipModule and VideoDataModule."""

from functools import partial
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateMonitor
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from peclip.data.datamodule import VideoDataModule
from peclip.data.limits import allow_open_files
from peclip.errors import InputError, first_line, listed, options_below
from peclip.model import PEClip
from peclip.results.options import OPTIONS
from peclip.terminal import say
from peclip.train.callbacks.dashboard import Dashboard
from peclip.train.callbacks.predictions import PredictionWriter, shard_writer
from peclip.train.callbacks.resumed import Resumed
from peclip.train.callbacks.training_time import Speed, TrainingTime
from peclip.train.cli.before_run import (
    check_data,
    check_faces,
    check_training,
    choose_folder,
    choose_loggers,
    find_interrupted,
    say_how_it_evaluates,
    say_what_differs,
)
from peclip.train.cli.checks import (
    check_averaging,
    check_checkpoint,
    check_swa,
    check_values,
    check_words,
)
from peclip.train.cli.options import (
    SECTION_OF,
    add_seed,
    add_shared_options,
    add_subcommand_options,
    build,
    build_data,
    generate_demo,
    give_frames_to_model,
    replace_source,
)
from peclip.train.cli.trained_model import TrainedModel, read_model
from peclip.train.cli.trainer import (
    check_monitors,
    entries,
    fits_cluster,
    imply_barebones,
    imply_dry_run,
    let_finders_evaluate,
    logged_scores,
    plugins,
    precision_of,
    refused,
    replace_bar,
    say_where_nodes_meet,
    without_limit,
)
from peclip.train.cli.user_errors import as_input_error
from peclip.train.cluster.ranks import say_once
from peclip.train.cluster.signals import asked_to_end, ended_together, interrupted_by_ctrl_c, usr1_as_sigterm
from peclip.train.private_hooks import HookedCLI, know_rank
from peclip.train.runs.checkpoints import START, best_checkpoint
from peclip.train.runs.folder import RUNS
from peclip.train.runs.record import INIT_FROM, changed_at, repeats_steps
from peclip.train.runs.recorder import Recorder
from peclip.train.runs.resume import Interrupted, remove_empty_run
from peclip.train.runs.start_model import Origin
from peclip.train.runs.wandb_logger import ContinuedWandbLogger


class PEClipCLI(HookedCLI):
    """``peclip fit|validate|test|predict``.

    Args:
        args: arguments of LightningCLI.
        model_named: the trained model that the command line names; it replaces the one that the options describe.
        options: keyword arguments of LightningCLI.
    """

    _options_named: set[str]
    """Options that the command line names, such as ``--data.root``."""
    _unbuilt: InputError | None = None
    """Error of a class that could not be built, until the parser has tried all types that its option accepts."""
    resumed: Interrupted | None = None
    """The run whose training continues, in its own folder or in a new one."""
    folder: Path
    """The folder of the run, or of the results of an evaluation."""
    callbacks_named: list[Callback]
    """Callbacks that the options name, without peclip's own."""
    recorder: Recorder

    RESUME = "resume with --ckpt_path last"
    """Advice when a training is asked to end."""

    OTHER_ORIGIN = "put that model back, or start a new run (omit --ckpt_path)"
    """Advice when the model that a training started from has changed."""

    def __init__(self, *args: Any, model_named: TrainedModel | None = None, **options: Any) -> None:
        self.model_named = model_named
        super().__init__(*args, **options)

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the seed in place of Lightning's."""
        add_seed(parser, self.seed_everything_default)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options that all subcommands have, and link those that must be equal."""
        add_shared_options(parser, self.subclass_mode_model)

    def add_subcommand_arguments(self, parser: LightningArgumentParser, subcommand: str) -> None:
        """Add the options that only some subcommands have."""
        add_subcommand_options(parser, subcommand)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return the subcommands; checkpoints are always read with weights_only, and predictions go to files."""
        return {
            name: skip | {"weights_only", "return_predictions"} for name, skip in LightningCLI.subcommands().items()
        }

    @property
    def in_place(self) -> bool:
        """Return whether a training continues a run in its own folder."""
        return self.resumed is not None and self.resumed.in_place

    @property
    def options(self) -> Namespace:
        """The options of the subcommand."""
        return self.config[self.config.subcommand]

    @property
    def net_options(self) -> Namespace:
        """The options of the model's network; a custom module has them below its arguments."""
        model = self.options.model
        return model.init_args.net if self.subclass_mode_model else model.net

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the arguments. A source named on the command line replaces the one of the configuration.

        Raises:
            InputError: a value is out of range, or an option belongs to another subcommand or to the command line alone.
        """
        self.config = parser.parse_args(args)
        options, subcommand = self.options, self.config.subcommand
        check_values(options, subcommand)
        know_rank(options.trainer.num_nodes)
        self._options_named = {arg.partition("=")[0] for arg in args}
        check_words(options, subcommand, self._options_named)
        replace_source(options.data, self._options_named)
        if subcommand == "fit" and not self.model_named:
            give_frames_to_model(self.net_options, options.data)

    def before_instantiate_classes(self) -> None:
        """Choose the precision and the folder of the run, and register the functions that build model and data."""
        options = self.options
        with options_below("data"):
            allow_open_files(options.data.num_workers, options.trainer.devices in ("auto", "1", 1))
        generate_demo(options.data)
        imply_barebones(options.trainer)
        imply_dry_run(options.trainer)
        if self.config.subcommand == "fit":
            self.resumed = find_interrupted(options)
            if not self.in_place:
                check_checkpoint(options.checkpoint)
        else:
            let_finders_evaluate(options.trainer)
        self.folder = choose_folder(options, self.config.subcommand, self.resumed)
        options.trainer.precision = precision_of(options.trainer, self.resumed)
        parser, started = self.subcommand_parser(self.config.subcommand), options.get(INIT_FROM)
        origin = Origin.of(started, self.model_named.trained) if started and self.model_named else None
        self.recorder = Recorder(parser, options, self.resumed, origin)
        self.save_config_kwargs = {"recorder": self.recorder}
        options.trainer.default_root_dir = str(self.folder)
        options.trainer.logger = choose_loggers(
            options.trainer.logger, self.folder, self.recorder if self.subcommand == "fit" else None
        )
        self.parser.add_instantiator(self._build_net, PEClip, subclasses=False)
        for kind, section in SECTION_OF.items():
            self.parser.add_instantiator(partial(build, section), kind, subclasses=False)
        data = partial(build_data, self.model_named, self.net_options.texts)
        self.parser.add_instantiator(data, VideoDataModule, subclasses=False)
        self.parser.add_instantiator(self._build_wandb, WandbLogger, subclasses=False)
        self.parser.add_instantiator(self._build_other, object)

    def instantiate_classes(self) -> None:
        """Build model, data and trainer."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            if self._unbuilt:  # the parser has tried whether another type of the option accepts it
                raise self._unbuilt from error
            raise

    def started_before(self) -> list[Path]:
        """Return the runs that started from the same model: the run itself, if it begins again."""
        return [self.folder] if self.in_place else []

    def _build_other(self, class_type: type[Any], *args: Any, **given: Any) -> Any:
        """Build an object of any other class. Those of Lightning and torch fail only because of their arguments."""
        try:
            return class_type(*args, **given)
        except InputError:
            raise
        except Exception as error:
            if class_type.__module__.partition(".")[0] not in ("lightning", "torch"):
                raise
            what = f"{type(error).__name__}, {first_line(error)}"
            self._unbuilt = InputError(f"cannot build {class_type.__name__}: {what}")
            raise self._unbuilt from error

    def _build_net(self, class_type: type[PEClip], **given: Any) -> PEClip:
        """Build the model: the named one, or that of the options; an error about an argument names its option."""
        with options_below("model.net"):
            return self.model_named.build(given) if self.model_named else class_type(**given)

    def _build_wandb(self, class_type: type[WandbLogger], **given: Any) -> WandbLogger:
        """Build a logger that continues what the run has logged before it was interrupted."""
        return ContinuedWandbLogger(**given, earlier=self.recorder.earlier)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Create the trainer.

        Raises:
            InputError: options of the trainer cannot be combined, or a device is missing.
        """
        options, given = self.options.trainer, self.config_init[self.config.subcommand].trainer
        if options.enable_checkpointing is False:
            keys = self.subcommand_parser(self.config.subcommand).callback_keys
            keys[:] = [key for key in keys if key not in ("checkpoint", "last")]
        self.callbacks_named = entries(given.callbacks)
        callbacks: list[Callback] = self.trainer_defaults["callbacks"]
        kwargs |= replace_bar(callbacks, self.callbacks_named) | without_limit(options)
        if options.logger is not False:
            (times,) = (callback for callback in callbacks if isinstance(callback, TrainingTime))
            callbacks += [LearningRateMonitor("step"), Dashboard(self.recorder), Speed(times)]
        if self.config.subcommand == "fit":  # see Resumed: ranks that start later cannot tell a new run
            run, changes = self.resumed, self.recorder.changes
            changed = changed_at(run, changes) if run else set[str]()
            ended = run is not None and run.ended and not run.at_start and repeats_steps(run, changes)
            callbacks.insert(0, Resumed(changed, ended))
        with refused(options):
            return fits_cluster(super().instantiate_trainer(**kwargs, plugins=plugins(entries(given.plugins))))

    def run_subcommand(self, subcommand: str) -> None:
        """Run the subcommand; report an error in one line, on one of the ranks."""
        try:
            with usr1_as_sigterm(), interrupted_by_ctrl_c(self.trainer), ended_together(self.trainer):
                super().run_subcommand(subcommand)
        except SIGTERMException as error:
            if subcommand != "fit":
                self._drop_empty_run()
            in_shards = self.options.get("shards") and "resume with the same command"
            raise asked_to_end(self.trainer, self.RESUME if subcommand == "fit" else in_shards) from error
        except KeyboardInterrupt:
            if subcommand != "fit":
                self._drop_empty_run()
            raise
        except Exception as error:
            with options_below("data"):
                if isinstance(error, RuntimeError) and (died := self.datamodule.worker_error(error)):
                    raise died from error
            if known := as_input_error(error):
                self._drop_empty_run()
                raise known from error.__cause__
            raise

    def _drop_empty_run(self) -> None:
        """Remove the folder of a failed run that holds only its configuration, and the parent folders created for it."""
        is_own = self.recorder.has_begun or not any((self.folder / name).exists() for name in (OPTIONS, START))
        if self.trainer.is_global_zero and is_own and not self.in_place:
            remove_empty_run(self.folder, Path(RUNS))

    def predict(self, **kwargs: Any) -> None:
        """Write predictions to files and keep none in memory; skip the work if all shards exist."""
        options = self.options
        if options.shards is not None:
            precision = str(self.trainer.precision)
            writer = shard_writer(Path(options.shards), self.datamodule, self.model, precision, options.clips_per_shard)
            if writer.folder.rows is not None:
                say_once(f"Nothing to predict, all shards exist: {writer.folder}")
                return
            callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
            callbacks[:] = [writer if isinstance(each, PredictionWriter) else each for each in callbacks]
        self.trainer.predict(**kwargs, return_predictions=False)

    def before_fit(self) -> None:
        """Check the score that selects the best checkpoint; without validation clips, select the last checkpoint.

        Raises:
            InputError: there is no such score, or averaged weights cannot be saved.
        """
        if not self.in_place:
            check_swa(self.trainer)
        check_averaging(self.trainer, self.model.sharded, self.options.checkpoint.save_weights_only)
        monitor, logged = self.options.checkpoint.monitor, logged_scores(self.model, self.datamodule, self.trainer)
        if monitor is not None and monitor not in self.model.monitors:
            raise InputError(f"checkpoint.monitor is {monitor!r}, expected one of {listed(self.model.monitors)}")
        check_monitors(self.callbacks_named, self.model, logged)
        if (best := best_checkpoint(self.trainer)) and monitor not in logged:
            best.monitor = None

    def after_fit(self) -> None:
        """Evaluate the best checkpoint once: on the test clips, or on the validation clips if there are none."""
        # Of a resumed training that max_steps or a callback had ended, Lightning would count the last epoch as not complete.
        epochs: Any = self.trainer.fit_loop.epoch_progress.current
        epochs.completed = epochs.processed
        best = best_checkpoint(self.trainer)
        splits = self.datamodule.splits
        run = self.trainer.test if len(splits.test) else self.trainer.validate if len(splits.val) else None
        path = best.best_model_path or None if best else None
        if best and best.monitor and not path and not self.options.trainer.fast_dev_run:
            say_once(f"No checkpoint has a {best.monitor}, so the results are those of the last weights.")
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        # A finder has found the batch size of the training; it would look for another one in the evaluation.
        callbacks[:] = [each for each in callbacks if not isinstance(each, BatchSizeFinder)]
        if run:
            run(self.model, datamodule=self.datamodule, ckpt_path=path, weights_only=True, verbose=False)
        if self.trainer.is_global_zero and not self.options.trainer.fast_dev_run:
            say(f"The run is in {self.folder}")

    def prepare_subcommand(self, subcommand: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Check data and model against each other, load the weights to start from, and only then begin the folder of the run.

        What can be refused is refused before anything is written.
        """
        is_fit = subcommand == "fit"
        module, data, trainer = self.model, self.datamodule, self.trainer
        check_data(data, module, trainer, subcommand)
        if is_fit:
            check_training(self.options, self._options_named, module, data, trainer)
            self._load_start(arguments["ckpt_path"])
        else:
            say_how_it_evaluates(trainer, module.net, self.model_named is not None)
        check_faces(data.source, module.net, is_fit)
        if subcommand == "predict":
            say_what_differs(module.net, data, self.model_named.trained if self.model_named else None)
        if is_fit:
            self.recorder.check_origin(self.started_before(), self.OTHER_ORIGIN)
            self.recorder.prepare(trainer, data)
        self.recorder.begin(trainer, self.folder, data)
        if subcommand in ("validate", "test"):
            arguments["verbose"] = False  # the report prints the results
        if not is_fit:
            arguments["ckpt_path"] = None  # the model has its weights already
        say_where_nodes_meet(trainer)
        return arguments | {"weights_only": True}

    def _load_start(self, checkpoint: str | None) -> None:
        """Load the weights of the checkpoint that a training resumes from, if there is one."""
        if checkpoint:
            with options_below("model"):
                self.model.load_trained(read_model(checkpoint, "ckpt_path").trained)
