"""A run that is killed at any moment resumes in mid-epoch and ends with the same results."""

import errno
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from functools import partial

import pytest
import torch

from tests.cluster import of_slurm
from tests.processes import AtCall, at_once, in_a_process, send
from tests.stress.killed import (
    DIE,
    KILL,
    MODULE,
    going_on,
    in_training,
    in_validation,
    on_a_fast_disk,
    outcome,
    run_in,
    while_moving,
    while_writing,
)

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, options):
    """A folder with the finished run; not to be written to."""
    folder = tmp_path_factory.mktemp("finished")
    assert in_a_process(folder, options) == (0, "")
    return folder


@pytest.fixture(scope="module")
def uninterrupted(finished):
    return outcome(finished / "runs/tiny/version_0")


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory, options):
    """A folder with the run, killed in the second epoch; not to be written to."""
    folder = tmp_path_factory.mktemp("killed")
    assert in_a_process(folder, options, partial(on_a_fast_disk, MOMENTS["in the second epoch"]))[0] == -KILL
    return folder


@pytest.fixture
def killed(killed_once, tmp_path):
    """A folder with a copy of the killed run."""
    shutil.copytree(killed_once, tmp_path, dirs_exist_ok=True)
    return tmp_path


MOMENTS = {
    "before the first checkpoint": in_training(2),
    "in the first epoch": in_training(4),
    "in the second epoch": in_training(9),
    "at the end of an epoch": in_training(5),
    "between two epochs": partial(on_a_fast_disk, in_training(6)),
    "in validation": in_validation(4),
    "while a checkpoint is written": while_writing(4),
    "while a checkpoint is moved": partial(while_moving, "last.ckpt"),
}


IN_SHORT = ("while a checkpoint is moved",)
"""Tests below resume the run that was killed in the second epoch, too."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment", [pytest.param(name, marks=() if name in IN_SHORT else pytest.mark.stress) for name in MOMENTS]
)
def test_a_killed_run_resumes_and_ends_the_same(moment, options, uninterrupted, tmp_path):
    status, _ = in_a_process(tmp_path, options, MOMENTS[moment])
    assert status == -KILL
    going_on(tmp_path, options, uninterrupted)
    left = {path.name for path in tmp_path.glob("runs/tiny/version_0/checkpoints/*")}
    assert left == {"best.ckpt", "last.ckpt", "previous.ckpt"}


@pytest.mark.stress
def test_a_run_killed_twice_resumes_with_another_number_of_workers(options, uninterrupted, tmp_path):
    assert in_a_process(tmp_path, options, in_training(4))[0] == -KILL
    again = [*options, "--ckpt_path", "last", "--data.num_workers", "2"]
    assert in_a_process(tmp_path, again, in_training(5))[0] == -KILL
    going_on(tmp_path, options, uninterrupted, "--data.num_workers", "1")


@pytest.mark.slow
def test_a_torn_checkpoint_is_named_and_the_one_before_it_is_used(options, uninterrupted, killed):
    last = killed / "runs/tiny/version_0/checkpoints/last.ckpt"
    last.write_bytes(last.read_bytes()[:-5000])
    (line,) = going_on(killed, options, uninterrupted).splitlines()
    assert line.startswith("peclip: warning: runs/tiny/version_0/checkpoints/last.ckpt: refused, damaged")
    assert line.endswith("trying the one before it")


def test_a_run_whose_checkpoints_are_all_torn_is_refused_and_kept(options, killed):
    folder = killed / "runs/tiny/version_0"
    for name in ("last.ckpt", "previous.ckpt"):
        (folder / "checkpoints" / name).write_bytes(b"torn")
    before = sorted(folder.rglob("*"))
    result = run_in(killed, *options, "--ckpt_path", "last")
    assert (result.status, result.err.splitlines()[-1].startswith("peclip: error: ")) == (2, True)
    assert "previous.ckpt" in result.err.splitlines()[-1]
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGUSR1, marks=pytest.mark.stress)])
def test_a_run_that_is_asked_to_end_saves_its_step_and_resumes_after_it(number, options, uninterrupted, tmp_path):
    status, err = in_a_process(tmp_path, options, in_training(8, partial(send, number)))
    assert (status, err) == (143, "peclip: asked to end: resume with --ckpt_path last\n")
    content = torch.load(tmp_path / "runs/tiny/version_0/checkpoints/last.ckpt", weights_only=True)
    assert content["global_step"] == 8
    going_on(tmp_path, options, uninterrupted)


def test_a_validation_is_run_to_its_end_when_a_run_is_asked_to_end(options, uninterrupted, tmp_path):
    """Its first batch of two, after those that Lightning tries before the training."""
    status, _ = in_a_process(tmp_path, options, in_validation(3, partial(send, signal.SIGTERM)))
    assert status == 143
    content = torch.load(tmp_path / "runs/tiny/version_0/checkpoints/last.ckpt", weights_only=True)
    assert content["global_step"] == 5
    going_on(tmp_path, options, uninterrupted)


def test_an_evaluation_that_is_asked_to_end_ends_at_once(options, tmp_path):
    before = AtCall(f"{MODULE}.test_step", 1, partial(send, signal.SIGTERM))
    assert in_a_process(tmp_path, ["test", *options[1:3]], before) == (143, "peclip: asked to end\n")
    assert not list(tmp_path.glob("runs/tiny/*/metrics.json"))


def test_a_run_that_is_asked_to_end_in_slurm_saves_in_its_own_folder(options, uninterrupted, tmp_path):
    (slurm,) = of_slurm(nodes=1, per_node=1)
    (result,) = at_once(tmp_path, options, [slurm], in_training(8, partial(send, signal.SIGUSR1)))
    assert result.status == 143
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
    going_on(tmp_path, options, uninterrupted)


def full():
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_leaves_the_checkpoints_before(options, uninterrupted, tmp_path):
    """Simulate a full disk; make stress fills a real one."""
    status, err = in_a_process(tmp_path, options, AtCall("os:fsync", 7, full))
    assert status == 2
    (line,) = err.splitlines()
    assert "checkpoints/last.ckpt cannot be written: No space left on device" in line
    going_on(tmp_path, options, uninterrupted)


def fill(path):
    with suppress(OSError), path.open("wb") as file:
        file.write(bytes(4_000_000))


@pytest.mark.stress
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a small file system")
def test_a_disk_that_fills_up_leaves_the_checkpoints_before(options, uninterrupted, tmp_path):
    disk = tmp_path / "runs"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        filler = disk / "filler"
        status, err = in_a_process(tmp_path, options, in_training(8, partial(fill, filler)))
        assert status == 2
        (line,) = err.splitlines()
        assert "No space left on device" in line
        filler.unlink()
        going_on(tmp_path, options, uninterrupted)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


# --- which run resumes ---


def test_the_latest_run_of_the_name_resumes_and_no_test_of_it(options, killed):
    first = killed / "runs/tiny/version_0"
    shutil.copytree(first, killed / "runs/tiny/version_1")
    assert run_in(killed, "test", *options[1:3], "--ckpt_path", "runs/tiny/version_0").status == 0
    shutil.copytree(first, killed / "runs/other/version_7")
    resumed = run_in(killed, *options, "--ckpt_path", "last")
    assert (resumed.status, resumed.err) == (0, "")
    steps = {
        str(run.relative_to(killed / "runs")): torch.load(run / "checkpoints/last.ckpt", weights_only=True)[
            "global_step"
        ]
        for run in killed.glob("runs/*/version_*")
        if (run / "checkpoints").exists()
    }
    assert steps == {"tiny/version_0": 8, "tiny/version_1": 10, "other/version_7": 8}


@pytest.mark.stress
def test_without_a_run_last_is_the_first(options, uninterrupted, tmp_path):
    going_on(tmp_path, options, uninterrupted)


def test_a_finished_run_resumes_to_its_report(options, finished, uninterrupted, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    (tmp_path / "runs/tiny/version_0/metrics.json").unlink()
    going_on(tmp_path, options, uninterrupted)


def test_a_run_resumes_in_a_folder_that_has_moved(options, uninterrupted, killed):
    (killed / "runs/tiny/version_0").rename(killed / "moved")
    resumed = run_in(killed, *options, "--ckpt_path", str(killed / "moved"))
    assert (resumed.status, resumed.err) == (0, "")
    assert outcome(killed / "moved") == uninterrupted


def test_other_batches_are_refused(options, killed):
    result = run_in(killed, *options, "--ckpt_path", "last", "--data.batch_size", "3")
    assert result.status == 2
    assert "data.batch_size 2 (now 3): resume with the same" in result.err


def test_another_number_of_devices_is_refused_unless_a_step_has_the_same_clips(options, killed):
    devices = ["--ckpt_path", "last", "--trainer.devices", "2", "--trainer.strategy", "ddp_notebook"]
    status, err = in_a_process(killed, [*options, *devices])
    assert (status, err.count("\n")) == (2, 1)
    assert "data.batch_size times devices 2, which is 4 now" in err


# The rows of the learning rate and of the loss of a step, and those of an epoch, are logged one after another.
@pytest.mark.slow
@pytest.mark.parametrize(
    "row", [pytest.param(number, marks=() if number == 4 else pytest.mark.stress) for number in range(1, 20)]
)
def test_no_row_of_the_metrics_is_lost(row, options, uninterrupted, tmp_path):
    before = AtCall("lightning.pytorch.loggers:CSVLogger.log_metrics", row, DIE)
    assert in_a_process(tmp_path, options, before)[0] == -KILL
    going_on(tmp_path, options, uninterrupted)
