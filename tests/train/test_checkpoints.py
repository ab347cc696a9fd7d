"""Steps do not wait for the disk that a checkpoint is written to, and no checkpoint is lost for one that cannot be written."""

import errno
import os
import pickle
from contextlib import suppress
from threading import Event
from types import SimpleNamespace

import pytest
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from peclip.errors import InputError
from peclip.train.runs import checkpoint_io
from peclip.train.runs.checkpoint_io import IN_MEMORY, SyncedIO, in_background
from peclip.train.runs.checkpoints import BestCheckpoint

BEFORE = {"step": torch.tensor(1)}


@pytest.fixture
def files(tmp_path):
    """Return the writer of checkpoints, and a first one, best.ckpt."""
    files = SyncedIO()
    files.save_checkpoint(BEFORE, tmp_path / "best.ckpt")
    return files


@pytest.fixture
def disk(monkeypatch):
    """A disk that takes nothing until this is set."""
    may_write, write = Event(), checkpoint_io.write_bytes
    monkeypatch.setattr(checkpoint_io, "write_bytes", lambda *args: may_write.wait(60) and write(*args))
    yield may_write
    may_write.set()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_slow_disk_holds_up_no_step_and_the_content_is_that_of_its_step(files, tmp_path, disk):
    """An epoch with a better score writes two checkpoints, and removes one between."""
    content = {"step": torch.tensor(2)}
    with files.in_background():
        files.save_checkpoint(content, tmp_path / "better.ckpt")
        files.remove_checkpoint(tmp_path / "best.ckpt")
        for number in range(1, IN_MEMORY):
            files.save_checkpoint(content, tmp_path / f"{number}.ckpt")
    assert not files.is_done
    assert names(tmp_path) == ["best.ckpt"]
    content["step"] += 1  # training continues, before the thread has begun with the second one
    disk.set()
    for name in ("better.ckpt", "1.ckpt"):
        assert files.load_checkpoint(tmp_path / name, weights_only=True) == {"step": torch.tensor(2)}
    assert names(tmp_path) == ["1.ckpt", "better.ckpt"]


def test_whoever_else_saves_a_checkpoint_finds_it_on_disk(files, tmp_path):
    files.save_checkpoint(BEFORE, tmp_path / "last.ckpt")
    assert names(tmp_path) == ["best.ckpt", "last.ckpt"]
    files.remove_checkpoint(tmp_path / "best.ckpt")
    assert names(tmp_path) == ["last.ckpt"]


@pytest.mark.parametrize(("log_model", "waits"), [(False, False), (True, True), ("all", True)])
def test_a_logger_that_uploads_checkpoints_finds_them_on_disk(files, log_model, waits):
    loggers = [SimpleNamespace(), SimpleNamespace(_log_model=log_model)]  # as W&B's and MLflow's have it
    with in_background(SimpleNamespace(strategy=SimpleNamespace(checkpoint_io=files), loggers=loggers)):
        assert files._waits is waits


def test_a_file_that_is_being_written_exists_for_the_next_best_checkpoint(files, tmp_path, disk):
    strategy = SimpleNamespace(checkpoint_io=files, reduce_boolean_decision=lambda decision, all: decision)
    trainer = SimpleNamespace(strategy=strategy, is_global_zero=True)
    with files.in_background():
        files.save_checkpoint(BEFORE, tmp_path / "second.ckpt")
    disk.set()
    assert BestCheckpoint(tmp_path).file_exists(tmp_path / "second.ckpt", trainer)


def test_the_best_checkpoint_stays_where_a_better_one_cannot_be_written(files, tmp_path, monkeypatch):
    def full(*_):
        raise InputError("better.ckpt cannot be written: No space left on device")

    monkeypatch.setattr(checkpoint_io, "write_bytes", full)
    with files.in_background(), suppress(InputError):  # it may be known before the other is to be removed
        files.save_checkpoint(BEFORE, tmp_path / "better.ckpt")
        files.remove_checkpoint(tmp_path / "best.ckpt")
    for _ in range(2):
        with pytest.raises(InputError, match="No space left"):
            files.finish()
    assert names(tmp_path) == ["best.ckpt"]


def test_a_checkpoint_that_cannot_be_written_leaves_no_view_of_its_memory(files, tmp_path, monkeypatch):
    """Python 3.13 would print "Exception ignored" when it frees the memory."""
    views = []

    def full(target, data, advice):
        views.append(data)
        raise InputError("better.ckpt cannot be written: No space left on device")

    monkeypatch.setattr(checkpoint_io, "write_bytes", full)
    with pytest.raises(InputError, match="No space left"):
        files.save_checkpoint(BEFORE, tmp_path / "better.ckpt")
    with pytest.raises(ValueError, match="released"):
        views[0].tobytes()


def test_a_checkpoint_that_cannot_be_removed_is_one_line(files, tmp_path, monkeypatch):
    def refused(_, path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(TorchCheckpointIO, "remove_checkpoint", refused)
    with pytest.raises(InputError, match=r"best\.ckpt: Permission denied"):
        files.remove_checkpoint(tmp_path / "best.ckpt")


def test_a_process_that_is_spawned_gets_a_thread_of_its_own(files, tmp_path):
    """As those of ddp_spawn."""
    pickle.loads(pickle.dumps(files)).save_checkpoint(BEFORE, tmp_path / "spawned.ckpt")
    assert names(tmp_path) == ["best.ckpt", "spawned.ckpt"]
