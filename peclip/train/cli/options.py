"""Options of fit, validate, test and predict: those that peclip adds, data and parts that are built from them, and how they are written.

An error about an argument of a part names the option.
"""

import re
from collections.abc import Set as AbstractSet
from typing import Any

import torch
import yaml
from jsonargparse import Namespace, set_dumper
from jsonargparse.typing import register_type
from lightning.pytorch.cli import LightningArgumentParser

from peclip.clip_format import MAX_FRAMES, Views
from peclip.data.augment import Augment, Mix
from peclip.data.datamodule import VideoDataModule
from peclip.demo import TASKS, generate
from peclip.errors import InputError, options_below
from peclip.train.cli.arguments import TRUST
from peclip.train.cli.checks import SEEDS
from peclip.train.cli.trained_model import TrainedModel
from peclip.train.module import PEClipModule
from peclip.train.runs.checkpoints import BestCheckpoint, LastCheckpoint
from peclip.train.runs.folder import ALLOW, RUNS

CHECKPOINT = {
    "checkpoint.monitor": "val/score",
    "checkpoint.mode": "max",
    "checkpoint.filename": "best",
    "checkpoint.enable_version_counter": False,
}
"""Defaults of the best checkpoint, in place of Lightning's."""

SECTION_OF = {
    PEClipModule: "model",
    Augment: "data.augment",
    Mix: "data.mix",
    Views: "data.views",
    LastCheckpoint: "last",
}
"""The classes that the command line builds, and the section of their options; the model and the data have their own functions."""


def add_seed(parser: LightningArgumentParser, default: bool | int) -> None:
    """Add the seed, which must be a number: Lightning's ``true`` means another seed in each process, and when the run resumes."""
    text = f"Seed of new weights and of the data, 0 to {SEEDS - 1}."
    parser.add_argument("--seed_everything", type=int, default=default, help=text)


def add_shared_options(parser: LightningArgumentParser, is_any_module: bool) -> None:
    """Add the options that all subcommands have, and link those that must be equal.

    Args:
        parser: parser of a subcommand.
        is_any_module: whether the model is named by its class, so that its options are below ``model.init_args``.
    """
    parser.add_argument("--name", default="peclip", help=f"Name of the run: it lives in {RUNS}/NAME/VERSION/.")
    parser.add_lightning_class_args(BestCheckpoint, "checkpoint")
    parser.add_lightning_class_args(LastCheckpoint, "last")
    parser.set_defaults(CHECKPOINT)
    parser.link_arguments("seed_everything", "data.seed")
    net = "model.init_args.net" if is_any_module else "model.net"
    parser.link_arguments("data.labels", f"{net}.labels", apply_on="instantiate")


def add_subcommand_options(parser: LightningArgumentParser, subcommand: str) -> None:
    """Add the folder of results, the trust in a model, and options of a single subcommand."""
    text = "Import classes of other packages that the files of a model name; for models of people you trust."
    parser.add_argument(f"--{TRUST}", type=bool, default=False, help=text)
    if subcommand == "fit":
        text = f"Folder of the run, a new one, instead of {RUNS}/NAME/VERSION/."
        parser.add_argument("--folder", type=str | None, default=None, help=text)
        text = "Number of trainings, with this seed and those after it; the same command resumes. On the command line alone."
        parser.add_argument("--seeds", type=int | None, default=None, help=text)
        text = "Trained model to start from: a run, a .ckpt, a package or its Hub id, or a released .pth."
        parser.add_argument("--init_from", type=str | None, default=None, help=text)
        text = "Resume with other learning rates or the like, from the checkpoint on; changes.yaml records them."
        parser.add_argument(f"--{ALLOW}", type=bool, default=False, help=text)
    else:
        text = f"Folder for the results, a new one; by default {subcommand}_N below the run of the model."
        parser.add_argument("--out", type=str | None, default=None, help=text)
        text = "Start of the training whose config.yaml is given; an evaluation does not use it."
        parser.add_argument("--init_from", type=str | None, default=None, help=text)
    if subcommand == "predict":
        text = "Folder for predictions in Parquet shards of --clips_per_shard clips; a restart completes them."
        parser.add_argument("--shards", type=str | None, default=None, help=text)
        parser.add_argument("--clips_per_shard", type=int, default=10_000, help="Clips of a file in --shards.")


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


class Dumper(yaml.SafeDumper):
    """Dumper that also quotes texts such as ``1e3``, which the parser, unlike PyYAML, would read as numbers."""


Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+.]?\d[\d_.]*[eE][-+]?\d+$"), list("-+.0123456789")
)


def dump(options: Any) -> str:
    """Return options as YAML, in their order."""
    return yaml.dump(options, Dumper=Dumper, sort_keys=False, allow_unicode=True)


def dump_in_one_line(options: Any) -> str:
    """Return options as YAML in one line, a value of ``--config``."""
    line = yaml.dump(options, Dumper=Dumper, sort_keys=False, default_flow_style=True, width=float("inf"))
    return line.rstrip()


set_dumper("yaml", dump)
register_type(torch.device)  # the default of an argument of StochasticWeightAveraging
