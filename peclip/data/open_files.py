"""Compare the limit of open files with what worker processes need, before one of them runs out."""

import resource

from peclip.errors import InputError

OF_A_WORKER = 9
"""Open files that the main process holds for a worker: of the loaders of training, validation and test."""

OF_A_RUN = 28
"""Open files of a run beside them: its standard streams, libraries, logs, and the server that starts workers."""

OF_RANKS = 16
"""Further open files with several devices: pipes and sockets between the processes."""

ENOUGH = 65536
"""Open files beyond which a higher limit is of no use."""


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
