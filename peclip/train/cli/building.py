"""Build data and parts from their options; an error about an argument names its option."""

from collections.abc import Set as AbstractSet
from typing import Any

from jsonargparse import Namespace

from peclip.clip_format import MAX_FRAMES, Views
from peclip.data.augment import Augment, Mix
from peclip.data.datamodule import VideoDataModule
from peclip.demo import TASKS, generate
from peclip.errors import InputError, options_below
from peclip.train.cli.trained_model import TrainedModel
from peclip.train.module import PEClipModule
from peclip.train.runs.checkpoints import LastCheckpoint

SECTION_OF = {
    PEClipModule: "model",
    Augment: "data.augment",
    Mix: "data.mix",
    Views: "data.views",
    LastCheckpoint: "last",
}
"""The classes that the command line builds, and the section of their options; the model and the data have their own functions."""


def build(section: str, class_type: type[Any], *args: Any, **given: Any) -> Any:
    """Build what the options of a section describe; an error about an argument names its option."""
    with options_below(section):
        return class_type(*args, **given)


def build_data(
    model: TrainedModel | None, texts: Any, class_type: type[VideoDataModule], **given: Any
) -> VideoDataModule:
    """Build the data and read their labels, which the model is built with; an error about an argument names its option.

    Args:
        model: model that the command line names. An evaluation that sets no labels uses :meth:`TrainedModel.labels`.
        texts: option of the class texts.
        class_type: class of the data.
        given: options of the data.
    """
    with options_below("data"):
        data = class_type(**given)
        if given["labels"] is None and model and model.option == "ckpt_path":
            texts = texts.as_dict() if isinstance(texts, Namespace) else texts
            labels = model.labels(data.all_clips.labels, texts)
            if labels is not None:
                data.use_labels(labels)
        _ = data.labels
        return data


def replace_source(data: Namespace, named: AbstractSet[str]) -> None:
    """Replace the source of clips of the configuration by the one on the command line.

    Args:
        data: the options of the data.
        named: the options on the command line.
    """
    if "--data.manifest" in named and not named & {"--data.root", "--data.benchmark"}:
        data.root = data.benchmark = None
    elif named & {"--data.root", "--data.benchmark"} and "--data.manifest" not in named:
        data.manifest = None


def give_frames_to_model(net: Namespace, data: Namespace) -> None:
    """Move T from ``data.num_frames`` to the model, which owns it.

    Raises:
        InputError: the two differ.
    """
    if data.num_frames is None or not 1 <= data.num_frames <= MAX_FRAMES:
        return  # the data module refuses such a number
    if net.num_frames not in (16, data.num_frames):
        raise InputError(
            f"data.num_frames is {data.num_frames}, but model.net.num_frames is {net.num_frames}: omit one of them"
        )
    net.num_frames, data.num_frames = data.num_frames, None


def generate_demo(data: Namespace) -> None:
    """Generate the clips of a demo if the options of the data name it and the clips are missing."""
    if data.benchmark in TASKS and data.root:
        with options_below("data"):
            generate(data.benchmark, data.root)
