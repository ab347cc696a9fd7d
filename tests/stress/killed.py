"""Kill runs at a chosen moment, resume them, and compare their files."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import torch

from peclip.train.runs.checkpoint_io import SyncedIO

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


def _digest(state: dict[str, torch.Tensor]) -> str:
    total = sha256()
    for key, value in state.items():
        total.update(key.encode() + value.numpy().tobytes())
    return total.hexdigest()
