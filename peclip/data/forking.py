"""Processes of the data loaders' workers: how they start and what ends them.

They are forks of a server (Python's ``forkserver``): a process without threads that has imported what they need. A fork of
the main process may deadlock, because it copies locks that other threads hold; a fresh interpreter imports for seconds.
"""

import atexit
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from types import ModuleType
from typing import Any

METHOD = "forkserver"
"""Start method of worker processes; no other place decides it."""

PRELOADED = ["peclip.data.dataset", "pandas"]
"""Modules that the server imports, which its forks need not import again."""

_THREADLESS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Variables with which numpy and pyarrow start no thread when they are imported."""

_OF_CLUSTERS = (signal.SIGTERM, signal.SIGUSR1) if hasattr(signal, "sigtimedwait") else ()
"""Signals that SLURM sends to every process of a job; the training decides what follows from them. None on macOS."""

_BLOCKED = (*_OF_CLUSTERS, signal.SIGINT)
"""Signals that the server and its forks do not get: the main process alone decides what follows, from Ctrl-C too."""

_CHECK = 5.0
"""Seconds between two checks whether the main process still runs."""


def start_server() -> None:
    """Start the process that workers are forked from, unless it runs. It imports in the background.

    It and its forks block the signals of clusters, and that of Ctrl-C, which would end its imports with a traceback.
    """
    multiprocessing.get_context(METHOD).set_forkserver_preload(PRELOADED)
    # It finds the modules that this process finds, and none besides in the folder that it starts in.
    path = {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONSAFEPATH": "1"}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    try:
        with _variables(_THREADLESS | path):
            resource_tracker.ensure_running()  # it unblocks SIGTERM and SIGINT in the process that starts it
            signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
            forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _forget_server() -> None:
    """Let a fork of the main process, such as a rank of ddp_notebook, start a server of its own: this one is not its child."""
    server: Any = vars(forkserver)["_forkserver"]  # Python offers nothing public
    if server._forkserver_pid is not None:
        os.close(server._forkserver_alive_fd)  # the server ends with the main process alone
        server._forkserver_address = server._forkserver_alive_fd = server._forkserver_pid = None


os.register_at_fork(after_in_child=_forget_server)


def _end_server() -> None:
    """End the server with the main process: while it imports, it cannot see that, and would then start the next worker.

    Of that worker's locks nothing is left. Workers that have started end by themselves.
    """
    pid = vars(forkserver)["_forkserver"]._forkserver_pid
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # it blocks or ignores the others


atexit.register(_end_server)  # runs before multiprocessing removes its locks


@contextmanager
def _variables(values: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment, and set them back."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def main_module_hidden() -> Iterator[None]:
    """Keep new processes from importing the main module, of which they need nothing.

    Python would run it again in each of them: a script without ``if __name__ == "__main__"`` fails then.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def end_with_main_process(worker: int) -> None:
    """Let this worker end when the main process ends it or is gone, and at no signal that somebody else sends.

    PyTorch's workers look for that at the process that forked them, which here is the server.
    """
    threading.Thread(target=_wait_for_the_end, name="end", daemon=True).start()


def _wait_for_the_end() -> None:
    main = multiprocessing.parent_process()
    if main is not None and not _OF_CLUSTERS:
        main.join()
    while main is not None and main.is_alive():
        signals = signal.sigtimedwait(_OF_CLUSTERS, _CHECK)
        if signals and signals.si_signo == signal.SIGTERM and signals.si_pid == main.pid:
            break
    os._exit(0)
