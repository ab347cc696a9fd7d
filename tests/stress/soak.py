"""A long training of a tiny model with everything on, and what it holds of the machine meanwhile.

python -m tests.stress.soak --steps 20000 prints the table of docs/BENCHMARKS.md.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

from peclip.train.module import PEClipModule
from tests.conftest import write_tiny_clip
from tests.processes import descendants, in_a_process
from tests.runs import write_config, write_data

CLIPS = 504
"""Rows of the manifest: a few files, each of them with many starts, so that an epoch is long."""

SAMPLES = "samples.json"


class Sample(NamedTuple):
    """Resources of a training and its worker processes at a step."""

    step: int
    seconds: float
    megabytes: float
    files: int
    threads: int
    processes: int


def sample(step: int, since: float) -> Sample:
    """Add up this process and those below it: of memory what they have written, whether they share it or not.

    Programs and libraries are not counted: the kernel splits them among all processes that use them.
    """
    processes = [Path("/proc") / str(process) for process in [os.getpid(), *descendants(os.getpid())]]
    kilobytes = sum(int(_entry(process / "smaps_rollup", "Anonymous:")) for process in processes)
    files = sum(len(os.listdir(process / "fd")) for process in processes)
    threads = sum(int(_entry(process / "status", "Threads:")) for process in processes)
    return Sample(step, round(time.monotonic() - since, 1), round(kilobytes / 1024, 1), files, threads, len(processes))


def _entry(path: Path, name: str) -> str:
    return next(line.split()[1] for line in path.read_text().splitlines() if line.startswith(name))


def sampled(folder: Path, every: int) -> None:
    """Let a training write samples into a folder."""
    samples: list[Sample] = []
    since = time.monotonic()

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if self.trainer.global_step % every == 0:
            samples.append(sample(self.trainer.global_step, since))
            (folder / SAMPLES).write_text(json.dumps(samples))

    PEClipModule.on_train_batch_end = on_train_batch_end


def soak(folder: Path, clip: Path, steps: int, every: int) -> list[Sample]:
    """Train so many steps with two processes that read, validation and checkpoints; sample every so many steps."""
    manifest = write_data(folder / "data", {"train": 4})
    head, *rows = manifest.read_text().splitlines()
    many = [f"{row},{number / 1e5}" for number in range(CLIPS // len(rows)) for row in rows]
    manifest.write_text("\n".join([f"{head},start", *many]) + "\n")
    config = write_config(folder / "tiny.yaml", clip, manifest)
    options = {"trainer.max_epochs": -1, "trainer.max_steps": steps, "data.num_workers": 2, "data.num_frames": 2, "model.net.num_frames": 2,
               "data.batch_size": 2, "last.every_n_steps": 200, "model.zero_shot": "false"}  # fmt: skip
    args = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    status, err = in_a_process(
        folder, ["fit", "--config", str(config), *args], partial(sampled, folder, every), limit=24 * 3600
    )
    assert (status, err) == (0, ""), err
    return [Sample(*entry) for entry in json.loads((folder / SAMPLES).read_text())]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20_000)
    steps = parser.parse_args().steps
    with tempfile.TemporaryDirectory() as name:
        samples = soak(Path(name), write_tiny_clip(Path(name) / "clip"), steps, every=max(steps // 20, 1))
    print("| step | seconds | MB | open files | threads | processes |\n|---:|---:|---:|---:|---:|---:|")
    for entry in samples:
        print("| " + " | ".join(str(value) for value in entry) + " |")


if __name__ == "__main__":
    main()
