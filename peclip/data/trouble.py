"""Say what happened to worker processes, and to which clips."""

from collections.abc import Sequence

from peclip.data.dataset import ClipDataset
from peclip.data.workers import SilentWorkers, dead_workers
from peclip.errors import InputError


def explain(error: RuntimeError, datasets: Sequence[ClipDataset]) -> InputError | None:
    """Return an error that names dead, silent or unreachable worker processes and the clips that they were reading.

    Args:
        error: of a loader.
        datasets: that were read.

    Returns:
        None for another error.
    """
    if isinstance(error, SilentWorkers):
        reading = [f"process {pid}{_while_reading([pid], datasets, ', which reads ')}" for pid in error.pids]
        who = f" ({', '.join(reading)})" if reading else ""
        return InputError(f"the processes that read clips {error.why}{who}: {error.advice}", "worker_timeout")
    if "Too many open files" in str(error):
        return InputError(
            "too many open files: batches come from the processes that read clips as open files; raise the limit with "
            "ulimit -n 4096, or set num_workers 0",
            "num_workers",
        )
    if dead := dead_workers(error):
        where = _while_reading(dead, datasets, "while it read ") or "between two clips"
        return InputError(
            f"the process {dead[0]}, which reads clips, died {where}: memory may have run out, or this file breaks the "
            "decoder; inspect it with peclip check, or set fewer num_workers",
            "num_workers",
        )
    return None


def _while_reading(pids: Sequence[int], datasets: Sequence[ClipDataset], words: str) -> str:
    """Return the clips that processes were reading behind some words; nothing where they read none."""
    at_work = [(dataset.clips, dataset.at_work.clip_of(pid)) for dataset in datasets for pid in pids]
    reading = [clips.clip(clip) for clips, clip in at_work if clip is not None]
    return words + ", ".join(f"{clip.path} ({clip.where})" for clip in reading) if reading else ""
