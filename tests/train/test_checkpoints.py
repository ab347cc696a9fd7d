"""Steps do not wait for the disk that a checkpoint is written to, and no checkpoint is lost for one that cannot be written."""

from threading import Event

import pytest
import torch

from peclip.errors import InputError
from peclip.train.runs import checkpoints
from peclip.train.runs.checkpoints import SyncedIO

BEFORE = {"step": torch.tensor(1)}


@pytest.fixture
def files(tmp_path):
    """What writes checkpoints, and a first one, best.ckpt."""
    files = SyncedIO()
    files.save_checkpoint(BEFORE, tmp_path / "best.ckpt")
    files.finish()
    return files


def test_a_slow_disk_holds_up_no_step_and_the_content_is_that_of_its_step(files, tmp_path, monkeypatch):
    may_write, write = Event(), checkpoints.write_bytes
    monkeypatch.setattr(checkpoints, "write_bytes", lambda *args: may_write.wait(20) and write(*args))
    content = {"step": torch.tensor(2)}
    files.save_checkpoint(content, tmp_path / "better.ckpt")
    files.remove_checkpoint(tmp_path / "best.ckpt")
    assert not files.is_done
    assert [path.name for path in tmp_path.iterdir()] == ["best.ckpt"]
    content["step"] += 1  # training goes on
    may_write.set()
    assert files.load_checkpoint(tmp_path / "better.ckpt", weights_only=True) == {"step": torch.tensor(2)}
    files.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["better.ckpt"]


def test_the_best_checkpoint_stays_where_a_better_one_cannot_be_written(files, tmp_path, monkeypatch):
    def full(*_):
        raise InputError("better.ckpt cannot be written: No space left on device")

    monkeypatch.setattr(checkpoints, "write_bytes", full)
    files.save_checkpoint(BEFORE, tmp_path / "better.ckpt")
    files.remove_checkpoint(tmp_path / "best.ckpt")
    for _ in range(2):
        with pytest.raises(InputError, match="No space left"):
            files.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["best.ckpt"]
