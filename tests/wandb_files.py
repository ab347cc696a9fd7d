"""Files that W&B has written of a run that was offline."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

from peclip.train.runs.wandb_logger import ContinuedWandbLogger, Row


def ended_by_wandb(rank: int = 0) -> None:
    """Let W&B write its file at the end of a process that has no exit handlers."""
    import wandb

    end = os._exit

    def finish(status: int) -> None:
        wandb.finish()
        end(status)

    os._exit = finish  # type: ignore[assignment]


def rows_of_wandb(folder: Path) -> list[Row]:
    """Return the rows of metrics in the files below a folder."""
    reader = ContinuedWandbLogger(experiment=SimpleNamespace())
    return [row for path in sorted(folder.glob("wandb/offline-*/*.wandb")) for row in reader._rows_in(path)]
