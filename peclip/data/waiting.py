"""Wait for the batches of worker processes, but not for ever: a process may be stopped, or blocked in a file.

A thread waits for the batches, because what PyTorch's loader waits for is not always under a limit of time. Where a batch is
not there when it is needed, this looks at the processes. It gives up when one of them is stopped, when none of them shows a
sign of life, or when none finishes a clip for very long. A sign of life is a clip that is begun or finished, a byte that is
read, or a second of a processor's time; so a slow disk is waited for as long as it delivers anything at all.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from traceback import clear_frames
from typing import NamedTuple, TypeVar

from peclip.data.workers import TIMEOUT, AtWork, SilentWorkers

T = TypeVar("T")

CHECK = 5.0
"""Seconds between two looks at the processes."""

STOPPED = 60.0
"""Seconds for which a process may be stopped (SIGSTOP, a debugger) while its batch is waited for; at most the timeout."""

LONGEST = 6
"""Number of timeouts without a finished clip after which the run ends, even if workers show other signs of life."""

_SECOND = 100  # units of the kernel's processor times


class Watched(Iterator[T]):
    """Batches of worker processes. The next one is always asked for: it arrives while the one before is trained on.

    Args:
        start: starts or wakes up the workers of a loader, and returns their batches; called at once, in a thread.
        at_work: the processes, and the time for which they may be silent.
        before: an earlier iteration of the same workers: it is ended, and what it has asked for is waited for.
    """

    def __init__(self, start: Callable[[], Iterator[T]], at_work: AtWork, before: Watched[T] | None = None) -> None:
        self._requests, self._answers = queue.SimpleQueue[bool](), queue.SimpleQueue[T | BaseException]()
        self._at_work = at_work
        if before is not None:
            before.end()
        earlier = None if before is None else before._thread
        # a daemon: if it waits for ever, it does not keep the program from ending
        self._thread: threading.Thread = threading.Thread(
            target=_fetch, args=([start], earlier, self._requests, self._answers), name="batches", daemon=True
        )
        self._thread.start()
        self._requests.put(True)

    def __next__(self) -> T:
        """Return the next batch.

        Raises:
            SilentWorkers: it is waited for in vain. Then the processes are killed.
        """
        answer = _wait(self._answers, self._at_work)
        if isinstance(answer, BaseException):
            self._answers.put(StopIteration())
            try:
                raise answer
            finally:
                del answer  # the error holds this frame
        self._requests.put(True)
        return answer

    def end(self) -> None:
        """Ask for no further batch."""
        self._requests.put(False)

    def close(self) -> None:
        """Let the thread end, and wait until it has, but not for a process that is blocked."""
        self.end()
        self._thread.join(CHECK)

    def __del__(self) -> None:
        """Let the thread end."""
        self.end()


def _fetch(
    start: list[Callable[[], Iterator[T]]],
    earlier: threading.Thread | None,
    requests: queue.SimpleQueue[bool],
    answers: queue.SimpleQueue[T | BaseException],
) -> None:
    """Get the batches that are asked for, once the thread of an earlier iteration has ended.

    The list is emptied: a thread that is not asked for anything must not keep the loader alive.
    """
    try:
        if earlier is not None:
            earlier.join()
        _pass_on(start.pop()(), requests, answers)
    except BaseException as error:  # noqa: BLE001 - it is raised by the thread that waits
        # They hold the loader's processes, and would do so in a circle with the error.
        clear_frames(error.__traceback__)
        answers.put(error)


def _pass_on(
    batches: Iterator[T], requests: queue.SimpleQueue[bool], answers: queue.SimpleQueue[T | BaseException]
) -> None:
    while requests.get():
        answers.put(next(batches))
    answers.put(RuntimeError("the loader was asked for its batches again before these came to their end"))


def _wait(answers: queue.SimpleQueue[T | BaseException], at_work: AtWork) -> T | BaseException:
    """Return the next answer.

    Time is counted in looks rather than by a clock: the whole program may be stopped and continued.
    """
    check = min(CHECK, at_work.timeout / 4)
    before, silent, without_clip, stopped = _Signs.of(at_work), 0.0, 0.0, dict[int, float]()
    while True:
        with suppress(queue.Empty):
            return answers.get(timeout=check)
        now = _Signs.of(at_work)
        silent = 0.0 if now != before else silent + check
        without_clip = 0.0 if now.notes != before.notes else without_clip + check
        stopped = {pid: stopped.get(pid, 0.0) + check for pid in at_work.pids if _state(pid) in ("T", "t")}
        before = now
        why = _verdict(at_work, silent, without_clip, stopped)
        if why is not None:
            at_work.kill()
            raise why


def _verdict(at_work: AtWork, silent: float, without_clip: float, stopped: dict[int, float]) -> SilentWorkers | None:
    limit = min(STOPPED, at_work.timeout)
    if halted := [pid for pid, seconds in stopped.items() if seconds >= limit]:
        return SilentWorkers(
            halted, f"have been stopped for {limit:g} s", "by SIGSTOP or a debugger: resume the run, and let them run"
        )
    reading = [pid for pid in at_work.pids if at_work.clip_of(pid) is not None]
    patience = at_work.timeout if at_work.have_begun else max(at_work.timeout, TIMEOUT)  # a start is many imports
    if silent >= patience:
        return SilentWorkers(
            reading,
            f"have shown no sign of life for {patience:g} s, neither a clip nor a byte read nor work of a processor",
            "inspect the disk and the file, or set a longer worker_timeout",
        )
    if without_clip >= LONGEST * patience:
        return SilentWorkers(
            reading,
            f"have finished no clip for {LONGEST * patience:g} s",
            "inspect the file with peclip check, or set a longer worker_timeout",
        )
    return None


class _Signs(NamedTuple):
    """Signs of life of all processes: clips begun and finished, seconds of the processor, and bytes read."""

    notes: int
    seconds: tuple[int, ...]
    bytes_read: tuple[str, ...]

    @classmethod
    def of(cls, at_work: AtWork) -> _Signs:
        """Look at the processes; if there is no /proc, only their clips tell."""
        pids = at_work.pids
        return cls(at_work.notes, tuple(map(_seconds, pids)), tuple(map(_bytes_read, pids)))


def _stat(pid: int) -> list[str]:
    """Return the state of a process and the numbers that follow it in its entry; nothing if there is no such entry."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _state(pid: int) -> str:
    return next(iter(_stat(pid)), "")


def _seconds(pid: int) -> int:
    numbers = _stat(pid)
    return (int(numbers[11]) + int(numbers[12])) // _SECOND if len(numbers) > 12 else 0


def _bytes_read(pid: int) -> str:
    """Return how many bytes a process has read, from files and from disks, as the kernel writes it."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
        return " ".join(line for line in lines if line.startswith(("rchar", "read_bytes")))
    return ""
