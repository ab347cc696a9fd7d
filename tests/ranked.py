"""Runs of the command on several ranks, each a fork of this process: a fresh interpreter would import for seconds."""

from __future__ import annotations

import csv
import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from tests.runs import Result, run
from tests.trees import write_clip

KILLED = -9


def in_ranks(
    folder: Path,
    args: Sequence[str | Path],
    world: int,
    before: Callable[[int], None] = lambda rank: None,
    limit: float = 120,
) -> list[Result]:
    """Run the command in a folder on so many ranks, as Lightning starts them, after ``before`` has set in each what will happen.

    Args:
        folder: where; it is made.
        args: the command line, without the number of ranks.
        world: how many ranks; 1 is one process without ranks.
        before: called with the rank in its process.
        limit: seconds after which those that still run are killed.

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


def at_once(
    folder: Path,
    args: Sequence[str | Path],
    environments: Sequence[Mapping[str, str]],
    before: Callable[[int], None] = lambda rank: None,
    limit: float = 120,
) -> list[Result]:
    """Run the command in a folder in several processes, each with the variables that its launcher would give it; see :func:`in_ranks`."""
    folder.mkdir(parents=True, exist_ok=True)

    def target(rank: int) -> None:
        os.environ.update(environments[rank])
        rank_zero_only.rank = rank
        before(rank)
        with chdir(folder):
            result = run(*args)
        for name in ("out", "err"):
            (folder / f"{name}.{rank}").write_text(getattr(result, name))
        os._exit(result.status)

    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=target, args=(rank,)) for rank in range(len(environments))]
    for process in processes:
        process.start()
    deadline = time.monotonic() + limit
    for process in processes:
        process.join(max(deadline - time.monotonic(), 0))
    for process in processes:
        process.kill()  # what still runs
        process.join()
    return [_result(folder, rank, process.exitcode) for rank, process in enumerate(processes)]


def _result(folder: Path, rank: int, status: int) -> Result:
    texts = [folder / f"{name}.{rank}" for name in ("out", "err")]
    out, err = (path.read_text() if path.exists() else "" for path in texts)
    for path in texts:
        path.unlink(missing_ok=True)
    return Result(status, out, err)


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
    """What ``metrics.csv`` of a run says of a name, row by row."""
    with (run_folder / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]
