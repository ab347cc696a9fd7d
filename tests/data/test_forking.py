"""Worker processes: what they get, how a script may start them, and what ends them."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from multiprocessing import forkserver
from pathlib import Path

import pandas as pd
import pytest
from torch.utils.data import DataLoader, Dataset

from peclip.data.datamodule import VideoDataModule
from peclip.data.forking import METHOD, main_module_hidden, start_server
from peclip.data.manifest import Manifest
from peclip.data.manifest.shared import share_manifests
from tests.processes import AtCall, descendants, in_a_process

ROOT = Path(__file__).parents[2]


class Clips(Dataset):
    """The rows of a manifest instead of their videos."""

    def __init__(self, clips):
        self.clips = clips

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, index):
        return self.clips.clip(index)


@pytest.mark.parametrize("name", ["a/é.mp4", os.fsdecode(b"caf\xe9.mp4")])
def test_a_worker_reads_the_rows_of_the_main_process(name, tmp_path):
    """The second name is not UTF-8, which Arrow cannot hold."""
    paths = pd.Series([name, "b.mp4", "c.mp4"], dtype=object)
    rows = {"path": paths, "label": ["fear", "", "anger"], "split": ["train", "test", ""]}
    numbers = {"fold": [1, 2, None], "start": [0.5, None, None], "end": [None, 3, None], "line": [2, 3, 0]}
    clips = Manifest(pd.DataFrame({**rows, **numbers, "source": "m.csv"}), tmp_path / "m.csv", tmp_path)
    share_manifests()
    start_server()
    with main_module_hidden():
        read = list(DataLoader(Clips(clips), None, num_workers=1, multiprocessing_context=METHOD))
    assert read == [clips.clip(index) for index in range(3)]


@pytest.mark.slow
def test_a_fork_of_the_main_process_starts_workers_of_its_own(tiny_data):
    """As a rank of ddp_notebook does."""
    start_server()
    pid = os.fork()
    if not pid:
        data = VideoDataModule(str(tiny_data), num_frames=2, num_workers=1, val=0)
        with suppress(Exception):
            data.setup("fit")
            os._exit(len(next(iter(data.train_dataloader())).clip))
        os._exit(100)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
    start_server()  # that of this process has not ended with its fork


def test_ctrl_c_waits_while_the_server_of_the_workers_imports():
    """It goes to all processes of a terminal; the main one ends the others."""
    start_server()
    status = Path(f"/proc/{vars(forkserver)['_forkserver']._forkserver_pid}/status").read_text()
    blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
    assert blocked >> (signal.SIGINT - 1) & 1


INTERRUPTED = """
import atexit, signal, sys, time
atexit.register(time.sleep, 1)  # runs last, as the end of a process with torch takes time
import multiprocessing
from peclip.data import forking

def interrupt(*_):
    raise KeyboardInterrupt

forking.PRELOADED = ["slow"]
forking.start_server()
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.2)
context = multiprocessing.get_context(forking.METHOD)
try:
    context.Process(target=print, args=(context.Lock(),)).start()
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_a_process_that_ends_while_a_worker_starts_leaves_none_behind(tmp_path):
    (tmp_path / "slow.py").write_text("import time; time.sleep(0.7)")
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    command = [sys.executable, "-c", INTERRUPTED]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


# As in a notebook or a first script, nothing keeps the main module from running twice.
SCRIPT = """
import sys, time
from peclip.data.datamodule import VideoDataModule

data = VideoDataModule(sys.argv[1], num_frames=2, num_workers=1, val=0, seed=3)
data.setup("fit")
batches = iter(data.train_dataloader())
print(sorted(next(batches).clip.tolist()), flush=True)
time.sleep(60)
"""


def gone(process):
    """Return whether a process has ended; the entry of one whose parent has not looked yet stays."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def all_gone(processes, limit=20):
    deadline = time.monotonic() + limit
    while not all(map(gone, processes)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return all(map(gone, processes))


@pytest.mark.slow
def test_a_script_needs_no_main_guard_and_its_workers_end_with_it_however_it_ends(tiny_data, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py", str(tiny_data)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert len(process.stdout.readline().split(",")) == 4
        below = descendants(process.pid)
        assert len(below) >= 2  # the server and the worker
        process.kill()
    assert all_gone(below)


def signal_all(number):
    """Send a signal to this process and all below it, as SLURM does."""
    for process in [os.getpid(), *descendants(os.getpid())]:
        os.kill(process, number)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGUSR1, marks=pytest.mark.stress)])
def test_a_signal_to_every_process_of_a_run_stops_it_between_two_steps(number, tiny_config, tmp_path):
    before = AtCall("peclip.train.module:PEClipModule.training_step", 4, partial(signal_all, number))
    args = ["fit", "--config", tiny_config, "--data.num_workers", "1", "--trainer.max_epochs", "3"]
    status, err = in_a_process(tmp_path, args, before)
    assert (status, err) == (143, "peclip: asked to end: resume with --ckpt_path last\n")
    assert list(tmp_path.glob("runs/tiny/*/checkpoints/last.ckpt"))
