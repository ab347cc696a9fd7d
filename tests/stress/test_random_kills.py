"""Real processes, killed with SIGKILL at random moments, again and again, until the run is through."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.runs import write_config, write_data
from tests.stress.killed import outcome

ROOT = Path(__file__).parents[2]
KILLS = 10


@pytest.mark.stress
def test_ten_kills_at_random_moments_change_nothing(tmp_path, tiny_clip, capsys):
    manifest = write_data(tmp_path / "data", {"train": 40, "test": 4})
    config = write_config(tmp_path / "tiny.yaml", tiny_clip, manifest)
    more = {"trainer.max_epochs": 6, "data.batch_size": 2, "last.every_n_steps": 5, "checkpoint.monitor": "val/loss",
            "checkpoint.mode": "min"}  # fmt: skip
    args = ["--config", str(config), *(word for name, value in more.items() for word in (f"--{name}", str(value)))]

    def start(folder: Path, workers: int) -> subprocess.Popen:
        folder.mkdir(exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "peclip",
            "fit",
            *args,
            "--ckpt_path",
            "last",
            "--data.num_workers",
            str(workers),
        ]
        with (folder / "log").open("a") as log:
            return subprocess.Popen(
                command, cwd=folder, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": str(ROOT)}
            )

    def wait_for_start(process: subprocess.Popen, log: Path, starts: int) -> None:
        """Wait until the run says from where it resumes; before that it imports."""
        while process.poll() is None and len(goings(log)) < starts:
            time.sleep(0.02)

    process = start(tmp_path / "whole", 0)
    wait_for_start(process, tmp_path / "whole/log", 1)
    begin = time.monotonic()
    assert process.wait() == 0
    whole = time.monotonic() - begin
    expected, rng = outcome(tmp_path / "whole/runs/tiny/version_0"), random.Random(0)
    kills, starts, folders = 0, 0, [tmp_path / "killed_0"]
    while kills < KILLS or starts:
        process, starts = start(folders[-1], rng.choice((0, 1, 2))), starts + 1
        wait_for_start(process, folders[-1] / "log", starts)
        if kills < KILLS:
            with suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0, 0.3 * whole))
        else:
            process.wait()
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        assert process.returncode == 0
        *_, run = sorted(folders[-1].glob("runs/tiny/version_*"))  # one that was killed at once is an empty folder
        assert outcome(run) == expected
        starts = 0
        if kills < KILLS:  # it was through: the next one
            folders.append(tmp_path / f"killed_{len(folders)}")
    with capsys.disabled():
        lines = [line for folder in folders for line in goings(folder / "log")]
        print(f"\n{kills} kills survived, {len(folders)} runs ended the same:", *lines, sep="\n  ")


def goings(log: Path) -> list[str]:
    """Return the lines in which a run said from where it resumes."""
    return [line for line in log.read_text().splitlines() if line.startswith(("Resuming", "No run"))]
