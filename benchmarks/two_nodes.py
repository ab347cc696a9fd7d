"""Train on two nodes that are network namespaces of this machine, and compare with one process. Needs root and ip (iproute2).

python benchmarks/two_nodes.py [--launcher torchrun|lightning] [--steps 10] [--config configs/demo.yaml] [--keep DIR]

The namespaces have nothing in common but a cable (a veth pair); the ranks speak gloo over it. Both trainings have the same
global batches. It fails where a trainable weight differs by more than 1e-4, and takes down what it has set up in any case.
"""

import argparse
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

CABLE, PORT, LIMIT = ("10.213.7.1", "10.213.7.2"), 29511, 1e-4


def main() -> None:
    """Train twice and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launcher", choices=("torchrun", "lightning"), default="torchrun")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--config", default=str(Path(__file__).parents[1] / "configs" / "demo.yaml"))
    parser.add_argument("--keep", help="new folder in which the runs are kept")
    options = parser.parse_args()
    if os.geteuid() or not shutil.which("ip"):
        raise SystemExit("two_nodes.py: only root may make network namespaces, by ip (apt-get install iproute2)")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or what was set up would stay
    folder = Path(options.keep or tempfile.mkdtemp(prefix="two_nodes_")).absolute()
    folder.mkdir(exist_ok=True)
    try:
        compare(folder, Path(options.config).absolute(), options.steps, options.launcher)
    finally:
        if not options.keep:
            shutil.rmtree(folder)


def compare(folder: Path, config: Path, steps: int, launcher: str) -> None:
    """Train in one process with batches of 4 clips, on two nodes with 2 each, and compare the weights."""
    fit = ["-m", "peclip", "fit", "--config", config, "--trainer.max_epochs", 1, "--trainer.limit_train_batches", steps,
           "--trainer.accelerator", "cpu", "--trainer.precision", "32-true", "--data.num_workers", 0]  # fmt: skip
    begun = time.perf_counter()
    alone = [*fit, "--data.batch_size", 4, "--trainer.devices", 1, "--folder", "one"]
    with (folder / "one.log").open("w") as log:
        finish(
            [subprocess.Popen(words(sys.executable, *alone), cwd=folder, stdout=log, stderr=log)],
            folder,
        )
    one = time.perf_counter()
    shared = [*fit, "--data.batch_size", 2, "--trainer.devices", 1, "--trainer.num_nodes", 2, "--folder", "two"]
    with two_nodes() as nodes:
        finish([start(node, rank, shared, launcher, folder) for rank, node in enumerate(nodes)], folder)
    two = time.perf_counter()
    first, second = (trained(folder / name) for name in ("one", "two"))
    apart = max(float((first[name] - second[name]).abs().max()) for name in first)
    moved = max(float(weight.abs().max()) for name, weight in first.items() if name.endswith("up.weight"))
    print(
        f"{steps} steps by {launcher} on two nodes ({two - one:.0f} s) and in one process ({one - begun:.0f} s): trainable "
        f"weights differ by at most {apart:.1e}; those that began at zero are up to {moved:.1e}"
    )
    metrics = [json.loads((folder / name / "metrics.json").read_text()) for name in ("one", "two")]
    print(f"metrics.json: {'equal' if agree(*metrics) else 'not equal'}")
    confusions = [(folder / name / "confusion.csv").read_text() for name in ("one", "two")]
    print(f"confusion.csv: {'equal' if confusions[0] == confusions[1] else 'not equal'}")
    if not apart <= LIMIT:
        raise SystemExit(f"two_nodes.py: the weights differ by {apart:.1e}, expected at most {LIMIT:.0e}")


def agree(one: Any, other: Any) -> bool:
    """Return whether two results are equal, their calibration to a millionth: weights differ by the order of a sum."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(agree(one[key], other[key]) for key in one)
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6)
    return bool(one == other)


def start(node: str, rank: int, fit: Sequence[object], launcher: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start the process of a node, as on a machine of its own."""
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "cable"}
    if launcher == "torchrun":
        command = ["-m", "torch.distributed.run", "--nnodes", 2, "--node_rank", rank, "--nproc_per_node", 1,
                   "--master_addr", CABLE[0], "--master_port", PORT, *fit]  # fmt: skip
    else:
        command = list(fit)
        environment |= {"MASTER_ADDR": CABLE[0], "MASTER_PORT": str(PORT), "NODE_RANK": str(rank)}
    inside = words("ip", "netns", "exec", node, sys.executable, *command)
    with (folder / f"node{rank}.log").open("w") as log:
        return subprocess.Popen(inside, cwd=folder, env=environment, stdout=log, stderr=log)


@contextmanager
def two_nodes() -> Iterator[tuple[str, str]]:
    """Set up two network namespaces with a cable between them, and take them down again."""
    nodes = (f"peclip-{os.getpid()}-0", f"peclip-{os.getpid()}-1")
    try:
        for node in nodes:
            ip("netns", "add", node)
        ip("link", "add", "cable", "netns", nodes[0], "type", "veth", "peer", "name", "cable", "netns", nodes[1])
        for node, address in zip(nodes, CABLE, strict=True):
            ip("-n", node, "address", "add", f"{address}/24", "dev", "cable")
            for device in ("lo", "cable"):
                ip("-n", node, "link", "set", device, "up")
        yield nodes
    finally:
        for node in nodes:  # the cable goes with them
            for process in ip("netns", "pids", node, check=False).split():  # torchrun's are in sessions of their own
                with suppress(ProcessLookupError):
                    os.kill(int(process), signal.SIGKILL)
            ip("netns", "delete", node, check=False)


def ip(*arguments: str, check: bool = True) -> str:
    """Run ``ip`` and return its output, or raise with it as the message."""
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    if check and done.returncode:
        raise SystemExit(f"two_nodes.py: ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def finish(processes: Sequence[subprocess.Popen[bytes]], folder: Path) -> None:
    """Wait for all processes; if one fails, end the others and print their output."""
    try:
        while any(process.poll() is None for process in processes):
            if any(process.poll() for process in processes):
                break
            time.sleep(0.1)
        if failed := [process.args for process in processes if process.poll()]:
            for log in sorted(folder.glob("*.log")):
                print(f"--- {log.name}\n{log.read_text()}", file=sys.stderr)
            raise SystemExit(f"two_nodes.py: failed: {' '.join(failed[0])}")
    finally:
        for process in processes:
            process.kill()
            process.wait()


def trained(run: Path) -> dict[str, torch.Tensor]:
    """Return the trained weights of a run."""
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def words(*command: object) -> list[str]:
    """Return a command as strings."""
    return [str(word) for word in command]


if __name__ == "__main__":
    main()
