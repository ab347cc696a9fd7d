"""Record the clip that each worker process reads, to report it when the process dies."""

import os
import re

import torch
from torch.utils.data import get_worker_info

from peclip.data.batch import NO_INDEX


class AtWork:
    """A table in shared memory, which outlives the processes that write into it.

    Args:
        workers: number of processes.
    """

    def __init__(self, workers: int) -> None:
        self._pids_and_clips = torch.full((workers, 2), NO_INDEX, dtype=torch.int64).share_memory_()

    def note(self, clip: int | None) -> None:
        """Note the clip that this process reads now, or that it reads none; does nothing in the main process."""
        if info := get_worker_info():
            self._pids_and_clips[info.id] = torch.tensor((os.getpid(), NO_INDEX if clip is None else clip))

    def clip_of(self, pid: int) -> int | None:
        """Return the clip that a process was reading, if it was."""
        clips = [clip for known, clip in self._pids_and_clips.tolist() if known == pid and clip != NO_INDEX]
        return clips[0] if clips else None


def dead_workers(error: RuntimeError) -> list[int]:
    """Return the ids of the processes whose death an error of PyTorch's loader reports; none for any other error."""
    found = re.search(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)", str(error))
    return [int(pid) for pid in found[1].split(",")] if found else []
