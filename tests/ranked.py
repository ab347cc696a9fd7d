"""Runs of the command on several ranks, each a process of its own, as Lightning starts them."""

from __future__ import annotations

import csv
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.processes import at_once, nothing
from tests.runs import Result
from tests.trees import write_clip


def in_ranks(
    folder: Path,
    args: Sequence[str | Path],
    world: int,
    before: Callable[[int], object] = nothing,
    limit: float = 120,
) -> list[Result]:
    """Run the command in a folder on so many ranks; see :func:`tests.processes.at_once`.

    Args:
        folder: where; it is made.
        args: the command line, without the number of ranks.
        world: how many ranks; 1 is one process without ranks.
        before: called with the rank in its process; it can be pickled.
        limit: seconds after which the ranks that still run are killed.

    Returns:
        The results in the order of the ranks; the status is that of the process, -9 of one that was killed.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0", "WORLD_SIZE": str(world)}
    if world == 1:
        return at_once(folder, [*args, "--trainer.devices", "1"], [{}], before, limit)
    several = ["--trainer.devices", str(world), "--trainer.strategy", "ddp"]
    return at_once(
        folder, [*args, *several], [{**here, "LOCAL_RANK": str(rank)} for rank in range(world)], before, limit
    )


def write_many(folder: Path, splits: dict[str, int], labels: Sequence[str]) -> Path:
    """Write six videos and a manifest of so many clips in each split, each with a start of its own; return the manifest."""
    for number in range(6):
        write_clip(folder / f"{number}.mp4", number, 12)
    lines, clip = ["path,label,split,start"], 0
    for split, count in splits.items():
        for _ in range(count):
            lines.append(f"{clip % 6}.mp4,{labels[clip % len(labels)]},{split},{clip // 6 * 1e-4:.4f}")
            clip += 1
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(lines) + "\n")
    return manifest


def logged(run_folder: Path, name: str) -> list[float]:
    """Return the values of a name in ``metrics.csv`` of a run, row by row."""
    with (run_folder / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]
