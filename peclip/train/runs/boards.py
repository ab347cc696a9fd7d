"""Show pictures, settings and files of a run in experiment trackers, as far as each kind of logger can hold them."""

import platform
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from PIL import Image

from peclip import __version__
from peclip.results.figures import Mistake

PACKAGES = ("torch", "lightning", "transformers", "numpy")
"""Packages whose versions a run records."""

REPORT = (
    "config.yaml",
    "changes.yaml",
    "metrics.json",
    "metrics.csv",
    "confusion.csv",
    "confusion.png",
    "predictions.csv",
)
"""Files of a run that W&B and MLflow keep with it."""

RESULTS = ("val/uar", "val/war", "test/uar", "test/war")
"""Metrics beside the settings of a run in TensorBoard's table of hyper-parameters."""

MLFLOW_NAME = 100
"""Maximum number of letters of an option's name in MLflow, which allows 250 together with its sections."""


def boards_of(loggers: Sequence[Logger]) -> list[Logger]:
    """Return the loggers that show a run to people: all except that of metrics.csv."""
    return [logger for logger in loggers if not isinstance(logger, CSVLogger)]


def show_settings(boards: Sequence[Logger], settings: Mapping[str, Any]) -> None:
    """Show the options of a run and facts about it as its hyper-parameters."""
    for board in boards:
        if isinstance(board, TensorBoardLogger):
            board.log_hyperparams({**settings}, {})  # without a dictionary it would log a metric hp_metric
            sessions = [*Path(board.experiment.log_dir).glob("events.out.tfevents.*")]
            if len(sessions) == 1:  # a run that resumes has shown them before
                _compare_in_tensorboard(board, settings)
        else:
            board.log_hyperparams(_named_for_mlflow(settings) if isinstance(board, MLFlowLogger) else {**settings})


def _compare_in_tensorboard(board: TensorBoardLogger, settings: Mapping[str, Any]) -> None:
    """Let the table of hyper-parameters in TensorBoard show settings beside the results that the run logs."""
    from torch.utils.tensorboard.summary import hparams

    plain = {
        name: value if isinstance(value, bool | int | float | str) else str(value) for name, value in _flat(settings)
    }
    for summary in hparams(plain, dict.fromkeys(RESULTS)):
        board.experiment.file_writer.add_summary(summary)


def _flat(settings: Mapping[str, Any], below: str = "") -> Iterator[tuple[str, Any]]:
    """Yield settings by their dotted names."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{below}{name}.")
        else:
            yield f"{below}{name}", value


def show_picture(boards: Sequence[Logger], name: str, path: Path, step: int) -> None:
    """Show a picture, a .png, in the loggers that can hold one."""
    for board in boards:
        if isinstance(board, WandbLogger):
            board.log_image(name, [str(path)], step=step)
        elif isinstance(board, TensorBoardLogger):
            with Image.open(path) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            board.experiment.add_image(name, pixels, step, dataformats="HWC")
        elif isinstance(board, MLFlowLogger):
            with Image.open(path) as picture:
                board.experiment.log_image(board.run_id, picture, f"{name}/step_{step:06d}.png")


def show_mistakes(boards: Sequence[Logger], name: str, mistakes: Sequence[Mistake], step: int) -> None:
    """Show mistakes as a table in the loggers that can hold one; in W&B with their frames."""
    columns = [field.name for field in fields(Mistake)]
    for board in boards:
        if isinstance(board, WandbLogger):
            import wandb

            rows = [
                [*astuple(mistake)[:-1], wandb.Image(np.concatenate([*mistake.frames], axis=1))] for mistake in mistakes
            ]
            board.log_table(name, columns, rows, step=step)
        elif isinstance(board, MLFlowLogger):
            *texts, _ = zip(*map(astuple, mistakes), strict=True) if mistakes else [()] * len(columns)
            table = dict(zip(columns[:-1], map(list, texts), strict=True))
            board.experiment.log_table(board.run_id, table, f"{name}/step_{step:06d}.json")


def show_numbers(boards: Sequence[Logger], numbers: Mapping[str, float], step: int) -> None:
    """Show numbers that are not metrics of the run, such as its speed."""
    for board in boards:
        board.log_metrics({**numbers}, step)


def keep_report(boards: Sequence[Logger], folder: Path) -> None:
    """Keep the files of a report with the run in the loggers that can hold them."""
    files = [str(folder / name) for name in REPORT if (folder / name).is_file()]
    for board in boards:
        if isinstance(board, WandbLogger):
            import wandb

            artifact = wandb.Artifact(f"report-{board.experiment.id}", "report")
            for file in files:
                artifact.add_file(file)
            board.experiment.log_artifact(artifact)
        elif isinstance(board, MLFlowLogger):
            for file in files:
                board.experiment.log_artifact(board.run_id, file, "report")


def _named_for_mlflow(settings: Any) -> Any:
    """Return settings whose names MLflow accepts: a site such as ``vision.mlp[6:12]`` has letters that it refuses."""
    if isinstance(settings, Mapping):
        names = (re.sub(r"[^\w. :-]", "_", str(name))[:MLFLOW_NAME] for name in settings)
        return {
            name if name.strip(".") else f"_{name}": _named_for_mlflow(value)
            for name, value in zip(names, settings.values(), strict=True)
        }
    return [_named_for_mlflow(each) for each in settings] if isinstance(settings, list) else settings


def surroundings() -> dict[str, Any]:
    """Return the versions of Python and packages, and the state of git in the working folder."""
    versions = {"peclip": __version__, "python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    versions["torch"] = torch.__version__  # the version names the build, such as +cu130
    return {"versions": versions, "git": _git()}


def _git() -> dict[str, Any]:
    """Return the commit of the working folder's repository and whether it is clean; empty if there is none, or git does not answer."""
    commands = (("git", "rev-parse", "HEAD"), ("git", "status", "--porcelain", "--untracked-files=no"))
    try:
        commit, changes = (
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
            for command in commands
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit, "changed": bool(changes)}
