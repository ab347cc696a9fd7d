"""A container's 64 MB of shared memory, and less: a run fits, or is refused in one line, and none waits for ever."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.stress,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a /dev/shm of its own"),
]

ROOT = Path(__file__).parents[2]
START = "import sys; from peclip.cli import main; main(sys.argv[1:])"


def fit(
    folder: Path, config: Path, mount: str, *options: str, meanwhile: str = "true"
) -> subprocess.CompletedProcess[str]:
    """Train in a private /dev/shm, and run a shell command beside it."""
    shell = f'mount -t tmpfs -o {mount} tmpfs /dev/shm && {{ ({meanwhile}) & exec "$@"; }}'
    command = [sys.executable, "-c", START, "fit", "--config", str(config), *options]
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", shell, "sh", *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("workers", [1, 3])
def test_too_little_is_refused_before_anything_is_written(workers: int, tiny_config: Path, tmp_path: Path):
    done = fit(tmp_path, tiny_config, "size=64k", "--data.num_workers", str(workers))
    assert done.returncode == 2
    assert done.stderr.startswith("peclip: error: /dev/shm has 0.1 MB free, and batches that wait in it may need ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_enough_is_enough(tiny_config: Path, tmp_path: Path):
    done = fit(tmp_path, tiny_config, "size=1m", "--data.num_workers", "2")
    assert (done.returncode, done.stderr) == (0, "")


def test_none_is_needed_without_workers(tiny_config: Path, tmp_path: Path):
    done = fit(tmp_path, tiny_config, "ro", "--data.num_workers", "0")
    assert (done.returncode, done.stderr) == (0, "")


def test_memory_that_is_read_only_is_one_line(tiny_config: Path, tmp_path: Path):
    done = fit(tmp_path, tiny_config, "ro", "--data.num_workers", "1")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "/dev/shm is read-only" in done.stderr


def test_memory_that_another_program_takes_meanwhile_is_one_line(tiny_config: Path, tmp_path: Path):
    fill = "until ls runs/tiny/*/metrics.csv; do sleep 0.1; done; head -c 4m /dev/zero > /dev/shm/other"
    options = ("--data.num_workers", "2", "--trainer.max_epochs", "500")
    done = fit(tmp_path, tiny_config, "size=2m", *options, meanwhile=f"({fill}) > log 2>&1")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "/dev/shm" in done.stderr
