"""Tiny data sets, and the command run on them as a user runs it: seconds on one core."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import pytest
import yaml
from PIL import Image

from peclip.cli import main
from tests.trees import write_clip

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = ("happiness", "sadness", "anger")


@dataclass(frozen=True)
class Result:
    """Result of a run of the command: its exit status, and its output on stdout and stderr."""

    status: int
    out: str
    err: str


def write_data(
    folder: Path, splits: Mapping[str, int] | None = None, labels: Sequence[str] = LABELS, frames: int = 6
) -> Path:
    """Write videos of 32 x 24 pixels, so many of each class in each split, and return their manifest."""
    lines, number = ["path,label,split"], 0
    for split, count in (splits or {"train": 4, "test": 2}).items():
        for label in labels:
            for _ in range(count):
                number += 1
                write_clip(folder / split / label / f"{number}.mp4", number, frames)
                lines.append(f"{split}/{label}/{number}.mp4,{label},{split}")
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(lines) + "\n")
    return manifest


def write_config(path: Path, backbone: Path, manifest: Path) -> Path:
    """Write the configuration of a run of two epochs with every part of PE-CLIP, and return its path."""
    config = {
        "name": "tiny",
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "precision": "32-true", "log_every_n_steps": 1},
        "model": {"zero_shot": True, "net": {"backbone": str(backbone), "num_frames": 3}},
        "data": {"manifest": str(manifest), "num_frames": 3, "batch_size": 4, "num_workers": 0},
    }
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def run(*args: str | Path, terminal: TextIO | None = None) -> Result:
    """Run the command in this process and return its status and what it printed, warnings and logs included.

    Args:
        args: the command line.
        terminal: where stdout goes instead of into the result.
    """
    err, status = io.StringIO(), 0
    out = terminal or io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), _as_a_process():
        try:
            main([str(arg) for arg in args])
        except SystemExit as error:
            status = int(error.code or 0)
    return Result(status, out.getvalue() if isinstance(out, io.StringIO) else "", err.getvalue())


def trained(folder: Path, *args: str | Path) -> Path:
    """Run ``peclip fit`` in a folder, where it must succeed, and return the folder of the run."""
    before = set(folder.glob("runs/*/*"))
    with chdir(folder):
        result = run("fit", *args)
    assert result.status == 0, result.err
    (made,) = set(folder.glob("runs/*/*")) - before
    return made


@contextmanager
def blank_pictures() -> Iterator[None]:
    """Let figures be saved as pictures of one pixel: laying one out takes a third of a short run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", save_blank)
        yield


def save_blank(figure: Figure | None, path: Path, **options: object) -> None:
    """Stand in for ``savefig`` of a figure."""
    Image.new("L", (1, 1)).save(path, format="png")


@contextmanager
def _as_a_process() -> Iterator[None]:
    """Let warnings and logs go to stderr as in a process of its own, and leave nothing of the run behind."""
    names = ("lightning", "lightning.pytorch", "lightning.fabric", "lightning_fabric", "transformers", "wandb")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    handlers = [handler for logger in loggers for handler in logger.handlers if type(handler) is logging.StreamHandler]
    streams = [handler.setStream(sys.stderr) or handler.stream for handler in handlers]
    environment = dict(os.environ)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda *args: sys.stderr.write(warnings.formatwarning(*args[:4]))
            warnings.resetwarnings()
            for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
                warnings.simplefilter("ignore", kind)
            yield
    finally:
        if "wandb" in sys.modules:  # its service would write the next run into this one's working folder
            sys.modules["wandb"].finish()
            sys.modules["wandb"].teardown()
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for handler, stream in zip(handlers, streams, strict=True):
            handler.setStream(stream)
        os.environ.clear()
        os.environ.update(environment)


@contextmanager
def few_calls(most: int = 150) -> Iterator[None]:
    """Allow only so many nested calls, so that what nests deeper needs few folders."""
    limit, frame, depth = sys.getrecursionlimit(), sys._getframe(), 0
    while frame := frame.f_back:
        depth += 1
    sys.setrecursionlimit(depth + most)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
