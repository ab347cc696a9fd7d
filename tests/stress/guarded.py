"""Calls that may hang, crash or swell, made in a process of their own with limits on time and memory."""

from __future__ import annotations

import multiprocessing
import resource
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from peclip.data import forking

MOST_MEGABYTES = 2000
"""Memory that reading a file may take."""

PATIENCE = 6
"""Seconds by a clock for each second of a processor: other processes of the machine may slow a call down, but not for ever."""

_ADDRESSES = 4 * 2**30  # bytes a process may reserve beyond those it has: so that a test takes no machine down


class Outcome(NamedTuple):
    """Outcome of a call.

    Attributes:
        value: what it returned; None where it did not.
        error: the exception, or how the process died; empty where it returned.
        seconds: of a processor that it took; NaN where the process died.
        megabytes: by which the memory of the process grew at most; NaN where it died.
    """

    value: Any
    error: str
    seconds: float
    megabytes: float


def nothing() -> None:
    """Do nothing."""


def guarded(
    function: Callable[[Any], Any], items: Sequence[Any], seconds: float, before: Callable[[], object] = nothing
) -> Iterator[Outcome]:
    """Call a function on each item, one after another in one process, and start another where it dies.

    Args:
        function: can be pickled, and so can what it returns.
        items: its arguments.
        seconds: of a processor after which a call is killed: by the kernel, in any code; :data:`PATIENCE` times as long by a clock.
        before: called first in each process, without limits.

    Yields:
        An outcome an item.
    """
    left = list(items)
    while left:
        for outcome in _until_it_dies(function, left, seconds, before):
            left = left[1:]
            yield outcome


def _until_it_dies(
    function: Callable[[Any], Any], items: Sequence[Any], seconds: float, before: Callable[[], object]
) -> Iterator[Outcome]:
    """Yield the outcomes of one process: all, or those up to the item at which it died."""
    forking.start_server()
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(function, items, sender, seconds, before), daemon=True)
    with forking.main_module_hidden():
        process.start()
    sender.close()
    try:
        for _ in items:
            yield receiver.recv()
    except EOFError:
        process.join()
        yield Outcome(None, f"the process ended with {process.exitcode}", float("nan"), float("nan"))
    finally:
        process.kill()
        process.join()
        receiver.close()


def _work(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    sender: Connection,
    seconds: float,
    before: Callable[[], object],
) -> None:
    before()
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") * 1024 + _ADDRESSES, most))
    for item in items:
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before, begin = _status("VmRSS"), time.process_time()
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE * seconds)
        try:
            value, error = function(item), ""
        except BaseException as caught:  # noqa: BLE001 - any exception is reported
            value, error = None, f"{type(caught).__name__}: {caught}"
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        grown = (_status("VmHWM") - before) / 1024
        sender.send(Outcome(value, error, time.process_time() - begin, max(grown, 0.0)))


def _status(name: str) -> int:
    """Return an entry of the state of this process, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
