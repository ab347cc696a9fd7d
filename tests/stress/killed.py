"""Kill runs at a chosen moment, resume them, and compare their files."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import chdir
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from peclip.train.runs.checkpoint_io import SyncedIO
from tests.processes import AtCall, send
from tests.runs import run

KILL = signal.SIGKILL
DIE = partial(send, KILL)
MODULE = "peclip.train.module:PEClipModule"

REPORT = ("metrics.json", "confusion.csv", "metrics.csv")
"""Files of a run that tell nothing of time or place."""

EARLIER = ("previous.ckpt", "damaged.ckpt", "start.ckpt")
"""Checkpoints that depend on the interruptions."""


def outcome(run_folder: Path) -> dict[str, str]:
    """Content of a finished run that must not depend on interruptions: its weights, bit by bit, and its report."""
    files = {name: sha256((run_folder / name).read_bytes()).hexdigest() for name in REPORT}
    for path in sorted(run_folder.rglob("*.ckpt")):
        if path.name not in EARLIER:
            files[path.name] = _digest(torch.load(path, weights_only=True)["state_dict"])
    return files


def on_a_fast_disk(moment: Callable[[], object]) -> None:
    """Let a training find each checkpoint on the disk in the step after it."""
    SyncedIO.is_done = property(lambda files: files.finish() is None)
    moment()


def going_on(folder: Path, options: list[str], uninterrupted: dict[str, str], *more: str) -> str:
    """Resume the only run of a folder, which must end like the uninterrupted one; return what it says of errors."""
    result = run_in(folder, *options, "--ckpt_path", "last", *more)
    assert result.status == 0, result.err
    (resumed,) = folder.glob("runs/tiny/*")
    assert outcome(resumed) == uninterrupted
    return result.err


def run_in(folder: Path, *args: str) -> Any:
    """Run a command in a folder that ends without a signal: it needs no process of its own."""
    with chdir(folder):
        return run(*args)


def in_training(step: int, act: Callable[[], object] = DIE) -> AtCall:
    """Die, or do something else, when a training step begins."""
    return AtCall(f"{MODULE}.training_step", step, act)


def in_validation(batch: int, act: Callable[[], object] = DIE) -> AtCall:
    """Die, or do something else, when a batch is validated."""
    return AtCall(f"{MODULE}.validation_step", batch, act)


def while_writing(checkpoint: int) -> AtCall:
    """Killed when a checkpoint is written but not yet on the disk."""
    return AtCall("os:fsync", 2 * checkpoint - 1, DIE)


def while_moving(name: str) -> None:
    """Killed when a file has become the previous one and the new one is not yet in its place, the second time."""
    replace, moved = Path.replace, list[Path]()

    def replacing(self: Path, to: Path) -> Path:
        moved.extend([to] if Path(to).name == name else [])
        if len(moved) == 2:
            send(KILL)
        return replace(self, to)

    Path.replace = replacing


def _digest(state: dict[str, torch.Tensor]) -> str:
    total = sha256()
    for key, value in state.items():
        total.update(key.encode() + value.numpy().tobytes())
    return total.hexdigest()
