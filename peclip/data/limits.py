"""Limits of the system, open files and shared memory, compared with what worker processes need, before one of them runs out."""

import os
import resource
from collections.abc import Sequence
from pathlib import Path

from peclip.data.batch import Batch, collate
from peclip.errors import InputError

FOLDER = Path("/dev/shm")
"""Folder of the shared memory, through which worker processes hand over batches."""

PREFETCH = 2
"""Batches that each process reads ahead."""

IN_USE = 3
"""Batches of a loader in the main process: the one in training, the next one, and the one requested ahead."""

_SMALL = 5 * 4096  # bytes of the small tensors of a batch: a page each
_MB = 2**20
_REMEDY = "set num_workers 0 or a smaller batch_size, or more memory for a container, as docker run --shm-size"

OF_A_WORKER = 9
"""Open files that the main process holds for a worker: of the loaders of training, validation and test."""

OF_A_RUN = 28
"""Open files of a run beside them: its standard streams, libraries, logs, and the server that starts workers."""

OF_RANKS = 16
"""Further open files with several devices: pipes and sockets between the processes."""

ENOUGH = 65536
"""Open files beyond which a higher limit is of no use."""


def check_shared_memory(workers: int, batches: Sequence[tuple[int, int]], copies: int = 1) -> None:
    """Compare the batches that may wait at once with the free shared memory.

    Args:
        workers: processes of each loader.
        batches: number of batches of each loader, and bytes of one batch.
        copies: ranks of this machine, each of which has all of these loaders.

    Raises:
        InputError: it is too small, or cannot be written to.
    """
    if not workers or not FOLDER.parent.is_dir() or os.uname().sysname != "Linux":
        return
    if not os.access(FOLDER, os.W_OK):
        raise InputError(
            f"{FOLDER} {'is read-only' if FOLDER.exists() else 'is missing'}, and the processes that read clips need it: "
            "set num_workers 0, or mount it writable",
            "num_workers",
        )
    waiting = ((min(count, workers * PREFETCH + IN_USE), size + _SMALL) for count, size in batches)
    needed = copies * sum(count * size for count, size in waiting)
    state = os.statvfs(FOLDER)
    free = state.f_bavail * state.f_frsize
    if needed > free:
        raise InputError(
            f"{FOLDER} has {free / _MB:,.1f} MB free, and batches that wait in it may need {needed / _MB:,.1f} MB, with "
            f"{workers} worker processes that read {PREFETCH} batches ahead: {_REMEDY} {max(1, round(1.5 * needed / 2**30))}g",
            "num_workers",
            "batch_size",
        )


def collate_shared(batches: Sequence[Batch]) -> Batch:
    """Join batches of one clip each in shared memory.

    PyTorch would move them there when it is too late to report that there is no room: then the main process waits for ever.

    Raises:
        InputError: there is no room.
    """
    batch = collate(batches)
    try:
        return batch.share_memory()
    except (RuntimeError, OSError) as error:
        raise InputError(
            f"{FOLDER} is full, the shared memory in which batches wait ({str(error).partition(': ')[2]}): {_REMEDY} 1g"
        ) from error


def allow_open_files(workers: int, one_device: bool = True) -> None:
    """Raise the limit of open files as far as this user may, and check that it suffices.

    Args:
        workers: processes that decode, for each device.
        one_device: whether there is one device.

    Raises:
        InputError: the limit is too low.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft != hard:
        most = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
        soft = max(soft, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    base = OF_A_RUN + (0 if one_device else OF_RANKS)
    needed = base + OF_A_WORKER * workers
    if soft != resource.RLIM_INFINITY and soft < needed and workers:
        fewer = max((soft - base) // OF_A_WORKER, 0)
        raise InputError(
            f"num_workers is {workers}, which needs {needed} open files, but the limit is {soft}: raise it (ulimit -n "
            f"{max(needed, 1024)}), or set num_workers to at most {fewer}",
            "num_workers",
        )
