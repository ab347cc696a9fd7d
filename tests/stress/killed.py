"""Runs of the command that are killed at a chosen moment, in a process of their own, and go on afterwards."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import chdir
from hashlib import sha256
from pathlib import Path

import torch

from tests.runs import run

REPORT = ("metrics.json", "confusion.csv", "metrics.csv")
"""Files of a run that tell nothing of time or place."""


def in_a_process(
    folder: Path, args: list[str], before: Callable[[], None] = lambda: None, limit: float = 600
) -> tuple[int, str]:
    """Run the command in a folder, in a process of its own, after ``before`` has set there what will happen to it; kill it after so many seconds.

    Returns:
        The status, which is -9 of a process that was killed, and what it wrote to stderr.
    """

    def target() -> None:
        before()
        with chdir(folder):
            result = run(*args)
        (folder / "stderr").write_text(result.err)
        os._exit(result.status)

    folder.mkdir(exist_ok=True)
    (folder / "stderr").unlink(missing_ok=True)
    process = multiprocessing.get_context("fork").Process(target=target)
    process.start()
    process.join(limit)
    if process.is_alive():
        process.kill()
        process.join()
    err = (folder / "stderr").read_text() if (folder / "stderr").exists() else ""
    return process.exitcode, err


def send(number: signal.Signals) -> None:
    """Send a signal to this process."""
    os.kill(os.getpid(), number)


def at_call(number: int, act: Callable[[], None], function: Callable) -> Callable:
    """Return a function that acts at its call of a number, before it does what it did."""
    calls = 0

    def counting(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == number:
            act()
        return function(*args, **kwargs)

    return counting


def outcome(run_folder: Path) -> dict[str, str]:
    """What a finished run leaves that must not depend on interruptions: its weights, to the bit, and its report."""
    files = {name: sha256((run_folder / name).read_bytes()).hexdigest() for name in REPORT}
    for name in ("best.ckpt", "last.ckpt"):
        state = torch.load(run_folder / "checkpoints" / name, weights_only=True)["state_dict"]
        total = sha256()
        for key, value in state.items():
            total.update(key.encode() + value.numpy().tobytes())
        files[name] = total.hexdigest()
    return files
