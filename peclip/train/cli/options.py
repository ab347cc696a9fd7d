"""Options that peclip adds to fit, validate, test and predict, and defaults that differ from Lightning's."""

from lightning.pytorch.cli import LightningArgumentParser

from peclip.train.cli.arguments import TRUST
from peclip.train.cli.checks import SEEDS
from peclip.train.runs.checkpoints import BestCheckpoint, LastCheckpoint
from peclip.train.runs.folder import ALLOW, RUNS

CHECKPOINT = {
    "checkpoint.monitor": "val/score",
    "checkpoint.mode": "max",
    "checkpoint.filename": "best",
    "checkpoint.enable_version_counter": False,
}
"""Defaults of the best checkpoint, in place of Lightning's."""


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
