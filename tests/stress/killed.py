"""Kill runs at a chosen moment, resume them, and compare their files."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import torch

REPORT = ("metrics.json", "confusion.csv", "metrics.csv")
"""Files of a run that tell nothing of time or place."""


def outcome(run_folder: Path) -> dict[str, str]:
    """Content of a finished run that must not depend on interruptions: its weights, bit by bit, and its report."""
    files = {name: sha256((run_folder / name).read_bytes()).hexdigest() for name in REPORT}
    for name in ("best.ckpt", "last.ckpt"):
        state = torch.load(run_folder / "checkpoints" / name, weights_only=True)["state_dict"]
        total = sha256()
        for key, value in state.items():
            total.update(key.encode() + value.numpy().tobytes())
        files[name] = total.hexdigest()
    return files
