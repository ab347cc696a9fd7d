"""SLURM's variables, as a task finds them that srun has started."""

from __future__ import annotations

import random
import socket


def of_slurm(nodes: int, per_node: int, name: str = "peclip") -> list[dict[str, str]]:
    """The environments in which srun starts tasks, with those of SLURM's variables that tell where a task is."""
    tasks, job = nodes * per_node, str(random.randint(100, 999) * 10000 + free_port() - 15000)
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


def free_port() -> int:
    """A port at which nobody listens, of those that Lightning makes of the numbers of SLURM's jobs."""
    while True:
        with socket.socket() as found:
            try:
                found.bind(("127.0.0.1", random.randint(15000, 24999)))
            except OSError:
                continue
            return found.getsockname()[1]
