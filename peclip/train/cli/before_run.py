"""Prepare a run: choose its folder, check model, clips and options against each other, and print how they differ."""

from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger

from peclip.data.benchmarks.whole_frames import advice_on_whole_frames
from peclip.data.contents import check_crops
from peclip.data.datamodule import VideoDataModule
from peclip.data.manifest import Manifest
from peclip.errors import InputError, counted, options_below
from peclip.model import PEClip, Trained
from peclip.train.callbacks.report import other_classes
from peclip.train.cli.checks import check_effects, check_fractions
from peclip.train.cli.trainer import dry_run_note, logged_scores
from peclip.train.cluster.ranks import say_once
from peclip.train.module import PEClipModule
from peclip.train.optimizers import check_custom
from peclip.train.private_hooks import process_rank
from peclip.train.runs.folder import RUNS, VERSION, check_new_folder, evaluation_folder, next_folder, own_logger
from peclip.train.runs.recorder import Recorder
from peclip.train.runs.resume import Interrupted, continued, interrupted_run
from peclip.train.runs.shards import check_shards_option


def find_interrupted(options: Namespace) -> Interrupted | None:
    """Find the run that a training continues, and set ``ckpt_path`` to its checkpoint; return None if the training is new.

    Raises:
        InputError: there is no such run, or it cannot be continued.
    """
    if not options.ckpt_path:
        return None
    if options.ckpt_path != "last" and not Path(options.ckpt_path).is_dir():
        return continued(Path(options.ckpt_path))
    if (
        options.folder
        and options.ckpt_path != "last"
        and Path(options.folder).resolve() != Path(options.ckpt_path).resolve()
    ):
        raise InputError(
            f"folder is {options.folder}, but the run {options.ckpt_path} resumes in its own folder: omit one of them; a new run "
            "continues a .ckpt, such as checkpoints/last.ckpt"
        )
    run = interrupted_run(options.ckpt_path, _runs(options), Path(options.folder) if options.folder else None)
    options.ckpt_path = str(run.checkpoint) if run and run.checkpoint else None
    return run


def choose_folder(options: Namespace, subcommand: str, resumed: Interrupted | None) -> Path:
    """Return the folder of a run, or of the results of an evaluation; a resumed run keeps its own.

    Raises:
        InputError: the folder that the options name is not empty.
    """
    if subcommand == "fit":
        if resumed and resumed.in_place:
            return resumed.folder
        folder = Path(options.folder) if options.folder else next_folder(_runs(options), VERSION)
    elif options.get("shards") is not None:
        check_shards_option(options, first=not process_rank())
        return Path(options.out or options.shards)  # a restart uses the same folder
    elif options.out:
        folder = Path(options.out)
    else:
        folder = evaluation_folder(options.ckpt_path, subcommand, _runs(options))
    # Only on rank 0, because the other ranks start after it has created the folder.
    if not process_rank():
        check_new_folder(folder, "folder" if subcommand == "fit" else "out")
    return folder


def choose_loggers(given: Any, folder: Path, recorder: Recorder | None) -> Any:
    """Return the loggers of a run: a CSV logger for its folder comes first, unless logging is off.

    Args:
        given: value of the option ``trainer.logger``.
        folder: folder of the run.
        recorder: recorder of a training; None for an evaluation.
    """
    if given is False:
        return False
    listed = [] if given in (None, True) else given if isinstance(given, list) else [given]
    others = [logger for logger in listed if not _is_csv(logger)]
    return [own_logger(folder), *(recorder.loggers(others, folder) if recorder else others)]


def check_data(data: VideoDataModule, module: PEClipModule, trainer: Trainer, subcommand: str) -> None:
    """Read the clips, and check that they can be used for the subcommand, and the trainer for the model.

    Raises:
        InputError: the clips, the labels or the trainer do not fit, or there is not enough shared memory.
    """
    with options_below("data"):
        data.setup(subcommand)
        data.clip_format = module.net.clip_format
        data.check_memory(subcommand, trainer.num_devices)
    with options_below("model"):
        module.check_trainer(trainer)


def check_training(
    options: Namespace, named: AbstractSet[str], module: PEClipModule, data: VideoDataModule, trainer: Trainer
) -> None:
    """Check that the options of a training fit each other, the parts that it trains and the number of its clips.

    Args:
        options: options of the training.
        named: options on the command line, such as ``--model.lr_adapters``.
        module: module to train; its loss gets the class weights.
        data: data of the training.
        trainer: trainer of the training.

    Raises:
        InputError: an option does not fit, or has no effect.
    """
    with options_below("model"):
        groups = module.parameter_groups()
        check_custom(groups, module.optimizer, module.lr_scheduler, logged_scores(module, data, trainer))
        module.fit_loss_to(data)
    check_effects(options, named, {group["name"] for group in groups if "name" in group})
    sizes = [size * trainer.world_size for size in (data.batch_size, data.eval_batch_size)]
    check_fractions(trainer, data.splits, *sizes)


def say_how_it_evaluates(trainer: Trainer, net: PEClip, is_trained: bool) -> None:
    """Print that an evaluation is of an untrained model, or is a dry run."""
    if not is_trained and net.trainable_state():
        say_once("No ckpt_path is given: the adapters and prompts are untrained.")
    if note := dry_run_note(trainer):
        say_once(note)


def check_faces(clips: Manifest, net: PEClip, is_fit: bool) -> None:
    """Check that clips of faces look like those of the model; advise to crop training clips that show more than faces.

    Raises:
        InputError: only the model or only the clips have upright faces.
    """
    with options_below("data"):
        check_crops(clips.source, net.clip_format.upright)
    if is_fit and (advice := advice_on_whole_frames(clips)):
        say_once(advice)


def say_what_differs(net: PEClip, data: VideoDataModule, trained: Trained | None) -> None:
    """Print how T and classes differ from those of the training, and how many clips were omitted; a test reports it."""
    found = other_classes(net.config, trained.config) if trained else None
    omitted = len(data.all_clips) - len(data.source)
    here, there = data.clip_format.num_frames, net.clip_format.num_frames
    remarks = [
        *([f"num_frames {here}, but the model was trained with {there}"] if here != there else ()),
        *(found.remarks if found else ()),
        *([f"{counted(omitted, 'clip')} of other labels omitted"] if omitted else ()),
    ]
    for remark in remarks:
        say_once(remark)


def _is_csv(logger: Any) -> bool:
    """Return whether a logger of the options is Lightning's CSV logger, which decides the folder of the runs."""
    return isinstance(logger, Namespace) and logger.class_path.endswith(CSVLogger.__name__)


def _runs(options: Namespace) -> Path:
    """Return the folder that holds the runs of this name: that of a CSV logger, if one is given."""
    given = options.trainer.logger
    loggers = given if isinstance(given, list) else [given]
    place = next((each.init_args for each in loggers if _is_csv(each)), None)
    return Path(place.save_dir, place.name or "") if place else Path(RUNS, options.name)
