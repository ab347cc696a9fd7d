"""Check model, clips and options against each other before a run begins, and print how they differ."""

from collections.abc import Set as AbstractSet

from jsonargparse import Namespace
from lightning.pytorch import Trainer

from peclip.data.benchmarks.whole_frames import advice_on_whole_frames
from peclip.data.contents import check_crops
from peclip.data.datamodule import VideoDataModule
from peclip.data.manifest import Manifest
from peclip.errors import counted, options_below
from peclip.model import PEClip, Trained
from peclip.train.callbacks.report import other_classes
from peclip.train.cli.checks import check_effects, check_fractions
from peclip.train.cli.trainer import dry_run_note, logged_scores
from peclip.train.cluster.ranks import say_once
from peclip.train.module import PEClipModule
from peclip.train.optimizers import check_custom


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
