"""Record the clip that each worker process reads, and report it when the process dies or shows no sign of life."""

import multiprocessing
import os
import re
from collections.abc import Sequence

import torch
from torch.utils.data import get_worker_info

from peclip.data.batch import NO_INDEX
from peclip.data.manifest import Manifest
from peclip.errors import InputError

TIMEOUT = 300.0
"""Seconds for which worker processes may show no sign of life by default; see :mod:`peclip.data.waiting`."""


class AtWork:
    """Table of the clip that each worker process reads, in shared memory, which outlives the processes.

    Args:
        workers: number of processes.
        timeout: seconds for which all of them may show no sign of life.
    """

    def __init__(self, workers: int, timeout: float = TIMEOUT) -> None:
        self.timeout = timeout
        columns = torch.tensor((NO_INDEX, NO_INDEX, 0)).expand(workers, 3).clone()
        self._pids_clips_and_notes = columns.share_memory_() if workers else columns

    def note(self, clip: int | None) -> None:
        """Note the clip that this process reads now, or that it reads none; does nothing in the main process."""
        if info := get_worker_info():
            row = self._pids_clips_and_notes[info.id]
            row[:] = torch.tensor((os.getpid(), NO_INDEX if clip is None else clip, int(row[2]) + 1))

    @property
    def pids(self) -> list[int]:
        """The ids of the processes that have read a clip or do so."""
        return [pid for pid, _, _ in self._pids_clips_and_notes.tolist() if pid != NO_INDEX]

    @property
    def have_begun(self) -> bool:
        """True once all processes have started."""
        return len(self.pids) == len(self._pids_clips_and_notes)

    @property
    def notes(self) -> int:
        """Number of times that processes have begun or finished a clip."""
        return int(self._pids_clips_and_notes[:, 2].sum())

    def clip_of(self, pid: int) -> int | None:
        """Return the clip that a process was reading, if it was."""
        clips = [clip for known, clip, _ in self._pids_clips_and_notes.tolist() if known == pid and clip != NO_INDEX]
        return clips[0] if clips else None

    def kill(self) -> None:
        """Kill all processes, also those that are stopped, which no other signal reaches."""
        for process in multiprocessing.active_children():
            if process.pid in self.pids:
                process.kill()


class SilentWorkers(RuntimeError):
    """Worker processes that show no sign of life.

    Args:
        pids: ids of those that have a clip to read, or are stopped.
        why: end of a sentence about them, such as "have been stopped for 60 s".
        advice: end of the message, which says what to do.
    """

    def __init__(self, pids: list[int], why: str, advice: str) -> None:
        super().__init__(f"the processes {', '.join(map(str, pids))} of a loader {why}: {advice}")
        self.pids, self.why, self.advice = pids, why, advice


def dead_workers(error: RuntimeError) -> list[int]:
    """Return the ids of the processes whose death an error of PyTorch's loader reports; none for any other error."""
    found = re.search(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)", str(error))
    return [int(pid) for pid in found[1].split(",")] if found else []


def worker_error(error: RuntimeError, reading: Sequence[tuple[Manifest, AtWork]]) -> InputError | None:
    """Return an error that names dead, silent or unreachable worker processes and the clips that they were reading.

    Args:
        error: an error that a loader raised.
        reading: the clips of each loader, and the processes that read them.

    Returns:
        The error; None if ``error`` is not about worker processes.
    """
    if isinstance(error, SilentWorkers):
        silent = [f"process {pid}{_while_reading([pid], reading, ', which reads ')}" for pid in error.pids]
        who = f" ({', '.join(silent)})" if silent else ""
        return InputError(f"the processes that read clips {error.why}{who}: {error.advice}", "worker_timeout")
    if "Too many open files" in str(error):
        return InputError(
            "too many open files: batches come from the processes that read clips as open files; raise the limit with "
            "ulimit -n 4096, or set num_workers 0",
            "num_workers",
        )
    if dead := dead_workers(error):
        where = _while_reading(dead, reading, "while it read ") or "between two clips"
        return InputError(
            f"the process {dead[0]}, which reads clips, died {where}: memory may have run out, or this file breaks the "
            "decoder; inspect it with peclip check, or set fewer num_workers",
            "num_workers",
        )
    return None


def _while_reading(pids: Sequence[int], reading: Sequence[tuple[Manifest, AtWork]], words: str) -> str:
    """Return ``words`` followed by the clips being read, or an empty string."""
    at_work = [(manifest, processes.clip_of(pid)) for manifest, processes in reading for pid in pids]
    clips = [manifest.clip(clip) for manifest, clip in at_work if clip is not None]
    return words + ", ".join(f"{clip.path} ({clip.where})" for clip in clips) if clips else ""
