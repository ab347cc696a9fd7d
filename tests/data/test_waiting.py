"""Worker processes that are stopped, blocked or slow: the first two end the waiting, the last does not."""

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from peclip.data import limits
from peclip.data.batch import Batch
from peclip.data.dataset import ClipDataset
from peclip.data.forking import METHOD, main_module_hidden, start_server
from peclip.data.limits import check_shared_memory, collate_shared
from peclip.data.waiting import Watched
from peclip.data.workers import AtWork, SilentWorkers, worker_error
from peclip.errors import InputError
from tests.data.test_datamodule import module, training_batches
from tests.processes import AtCall, in_a_process


class Working(Dataset):
    """Two items, of which the second calls a function in its worker once the first has arrived, however late."""

    def __init__(self, at_work: AtWork, act: Callable[[], object]) -> None:
        self.at_work, self.act = at_work, act
        self.arrived = torch.zeros(1, dtype=torch.bool).share_memory_()

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        self.at_work.note(index)
        if index == 1:
            while not self.arrived:
                time.sleep(0.01)
            self.act()
        self.at_work.note(None)
        return index


def begin(worker: int) -> None:
    get_worker_info().dataset.at_work.note(None)


def batches_of(act: Callable[[], object], timeout: float) -> Iterator[int]:
    """Yield the items of two workers, the second of which calls a function."""
    start_server()
    at_work = AtWork(2, timeout)
    items = Working(at_work, act)
    loader = DataLoader(items, None, num_workers=2, multiprocessing_context=METHOD, worker_init_fn=begin, timeout=0)

    def start() -> Iterator[int]:
        with main_module_hidden():
            return iter(loader)

    for item in Watched(start, at_work):
        items.arrived[:] = True
        yield item


def stop_itself() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def block() -> None:
    threading.Event().wait()


def read_slowly(path: str, seconds: float) -> None:
    """Read a byte ten times a second, as from a disk at its end."""
    with open(path, "rb", buffering=0) as file:
        begin = time.monotonic()
        while time.monotonic() - begin < seconds:
            file.read(1)
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("act", "says"), [(stop_itself, "have been stopped for 2 s"), (block, "have shown no sign of life for 2 s")]
)
def test_a_worker_that_does_nothing_ends_the_waiting_and_is_killed(act: Callable[[], object], says: str):
    batches = batches_of(act, timeout=2)
    assert next(batches) == 0
    with pytest.raises(SilentWorkers, match=says) as caught:
        next(batches)
    (pid,) = caught.value.pids
    for _ in range(600):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text():
            return
        time.sleep(0.1)
    pytest.fail("it is alive")


@pytest.mark.slow
def test_a_slow_disk_is_waited_for(tmp_path: Path):
    (tmp_path / "file").write_bytes(bytes(1000))
    assert list(batches_of(partial(read_slowly, str(tmp_path / "file"), 3.5), timeout=1)) == [0, 1]


@pytest.mark.stress
def test_a_worker_that_never_finishes_is_not_waited_for_however_busy_it_is(tmp_path: Path):
    (tmp_path / "file").write_bytes(bytes(1000))
    batches = batches_of(partial(read_slowly, str(tmp_path / "file"), 60), timeout=1)
    assert next(batches) == 0
    with pytest.raises(SilentWorkers, match="have finished no clip for 6 s"):
        next(batches)


def test_the_line_names_process_clip_and_option(tiny_data: Path):
    data = module(tiny_data, num_workers=1)
    data.setup("fit")
    dataset = data.train_dataloader().dataset
    assert isinstance(dataset, ClipDataset)
    dataset.at_work._pids_clips_and_notes[0, :2] = dataset.at_work._pids_clips_and_notes.new_tensor((77, 1))
    error = worker_error(
        SilentWorkers([77], "have been stopped for 60 s", "let them run"), [(dataset.clips, dataset.at_work)]
    )
    assert str(error) == (
        "the processes that read clips have been stopped for 60 s (process 77, which reads "
        f"{dataset.clips.clip(1).path} ({dataset.clips.clip(1).where})): let them run"
    )


@pytest.mark.stress
def test_a_run_whose_worker_is_stopped_ends_with_one_line(tiny_config: Path, tmp_path: Path):
    args = ["fit", "--config", tiny_config, "--data.num_workers", "2", "--data.worker_timeout", "2"]
    stopping = AtCall("peclip.train.module:PEClipModule.training_step", 2, stop_a_worker)
    status, err = in_a_process(tmp_path, args, stopping, limit=100)
    assert status == 2
    assert err.count("\n") == 1
    assert "have been stopped for 2 s (process " in err


def stop_a_worker() -> None:
    """Stop the latest process that this one has started."""
    import multiprocessing

    workers = [process for process in multiprocessing.active_children() if process.pid]
    for worker in workers:
        os.kill(worker.pid, signal.SIGSTOP)


def free(megabytes: float) -> Callable[[object], os.statvfs_result]:
    return lambda path: os.statvfs_result((4096, 4096, 0, 0, int(megabytes * 256), 0, 0, 0, 0, 255))


def test_batches_that_wait_are_compared_with_the_shared_memory_there_is(monkeypatch: pytest.MonkeyPatch):
    """Two processes read two batches of 10 MB ahead each, and three are in use: 70 MB; of 3 batches, 30 MB."""
    size = 10 * 2**20
    monkeypatch.setattr(os, "statvfs", free(71))
    check_shared_memory(2, [(100, size)])
    check_shared_memory(2, [(3, size), (3, size)])
    check_shared_memory(0, [(100, 100 * size)])
    for batches, ranks in (([(100, size), (3, size)], 1), ([(100, size)], 2)):
        with pytest.raises(
            InputError, match=r"/dev/shm has 71\.0 MB free, .* need \d+\.\d MB, .* docker run --shm-size 1g"
        ):
            check_shared_memory(2, batches, ranks)


@pytest.mark.parametrize("state", ["read-only", "missing"])
def test_shared_memory_that_cannot_be_written_to_is_named(state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "shm"
    if state == "read-only":
        folder.mkdir()
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(limits, "FOLDER", folder)
    with pytest.raises(InputError, match=f"shm is {state}, .*: set num_workers 0"):
        check_shared_memory(1, [(1, 1)])


def test_a_loader_is_refused_before_it_starts(tiny_data: Path, monkeypatch: pytest.MonkeyPatch):
    data = module(tiny_data, num_workers=2, batch_size=2, val=0.25)
    data.setup("fit")
    needed = (5 + 2) * (2 * 2 * 3 * 24**2 + 5 * 4096) / 2**20  # 9 training clips and 3 others
    monkeypatch.setattr(os, "statvfs", free(needed + 0.01))
    data.check_memory("fit", 1)
    monkeypatch.setattr(os, "statvfs", free(needed - 0.01))
    with pytest.raises(InputError, match="num_workers"):
        data.check_memory("fit", 1)


def test_a_batch_without_room_is_an_error_of_the_worker_and_not_of_a_thread_of_its_queue(
    tiny_data: Path, monkeypatch: pytest.MonkeyPatch
):
    (batch, *_) = training_batches(module(tiny_data))
    assert collate_shared([batch]).video.is_shared()

    def full(self: Batch) -> None:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(Batch, "share_memory", full)
    with pytest.raises(InputError, match=r"/dev/shm is full, .* \(No space left on device \(28\)\): set num_workers 0"):
        collate_shared([batch])


def test_a_system_that_starts_no_worker_gives_one_line(tiny_data: Path, capfd: pytest.CaptureFixture[str]):
    import resource

    gc.collect()
    for thread in threading.enumerate():
        if thread.name == "batches":  # of a test before: it would close files below
            thread.join(30)
    data = module(tiny_data, num_workers=2)
    loader = data.train_dataloader()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 1, limits[1]))
    try:
        with pytest.raises(InputError, match=r"cannot be started \(Too many open files\): set num_workers 0"):
            list(loader)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert capfd.readouterr().err == ""


def test_too_few_open_files_for_the_batches_is_one_line():
    error = worker_error(RuntimeError("Too many open files. Communication with the workers is no longer possible."), [])
    assert str(error).startswith("too many open files: ")
