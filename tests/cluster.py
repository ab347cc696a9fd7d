"""The command as several ranks, each a process of its own with the environment that a launcher would give it."""

from __future__ import annotations

import multiprocessing
import os
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir
from pathlib import Path

from tests.runs import Result, run

LIMIT = 120
"""Seconds, after which a rank is killed."""


def together(
    folder: Path,
    args: Sequence[str | Path],
    environments: Sequence[Mapping[str, str]],
    before: Callable[[], None] = lambda: None,
) -> list[Result]:
    """Run the command in a folder as ranks at the same time, after ``before`` in each; return what each gave."""

    def target(number: int, environment: Mapping[str, str]) -> None:
        os.environ.update(environment)
        before()
        with chdir(folder):
            result = run(*args)
        (folder / f"{number}.out").write_text(result.out)
        (folder / f"{number}.err").write_text(result.err)
        os._exit(result.status)

    folder.mkdir(exist_ok=True)
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=target, args=entry) for entry in enumerate(environments)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(LIMIT)
    for process in processes:
        process.kill()
        process.join()
    texts = [[_taken(folder / f"{number}.{kind}") for kind in ("out", "err")] for number in range(len(processes))]
    return [Result(process.exitcode, *text) for process, text in zip(processes, texts, strict=True)]


def of_one_machine(ranks: int) -> list[dict[str, str]]:
    """The environments of ranks on one machine."""
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "NODE_RANK": "0"}
    return [{**common, "LOCAL_RANK": str(rank)} for rank in range(ranks)]


def of_slurm(nodes: int, per_node: int, name: str = "peclip") -> list[dict[str, str]]:
    """The environments in which srun starts tasks, with those of SLURM's variables that tell where a task is."""
    tasks, job = nodes * per_node, str(random.randint(100, 999) * 10000 + free_port(15000, 10000) - 15000)
    common = {
        "SLURM_JOB_ID": job, "SLURM_JOBID": job, "SLURM_JOB_NAME": name, "SLURM_STEP_ID": "0",
        "SLURM_JOB_NUM_NODES": str(nodes), "SLURM_NNODES": str(nodes), "SLURM_STEP_NUM_NODES": str(nodes),
        "SLURM_NTASKS": str(tasks), "SLURM_NPROCS": str(tasks), "SLURM_STEP_NUM_TASKS": str(tasks),
        "SLURM_NTASKS_PER_NODE": str(per_node), "SLURM_TASKS_PER_NODE": f"{per_node}(x{nodes})",
        "SLURM_CPUS_PER_TASK": "1", "SLURM_JOB_NODELIST": f"127.0.0.[1-{nodes}]",
        "SLURM_NODELIST": f"127.0.0.[1-{nodes}]", "SLURM_STEP_NODELIST": f"127.0.0.[1-{nodes}]",
    }  # fmt: skip
    return [
        common
        | {
            "SLURM_PROCID": str(task),
            "SLURM_LOCALID": str(task % per_node),
            "SLURM_NODEID": str(task // per_node),
            "SLURMD_NODENAME": f"127.0.0.{1 + task // per_node}",
        }
        for task in range(tasks)
    ]


def free_port(first: int = 0, count: int = 1) -> int:
    """A port at which nobody listens: any, or one of so many from the first."""
    for number in [0] if not first else random.sample(range(first, first + count), count):
        with socket.socket() as found:
            try:
                found.bind(("127.0.0.1", number))
            except OSError:
                continue
            return found.getsockname()[1]
    raise AssertionError("no port is free")


def _taken(path: Path) -> str:
    text = path.read_text() if path.exists() else ""
    path.unlink(missing_ok=True)
    return text
