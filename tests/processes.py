"""Runs of the command in processes of their own, as a user starts them.

They are forks of a server that has imported what a training needs (see tests/conftest.py): a fresh interpreter imports for
seconds. The server has no threads and has never asked for a GPU, so a fork of it is as good as a fresh process. What is to
happen in a process is a function that can be pickled: one of a module, a ``partial`` of such a function, or :class:`AtCall`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from pkgutil import resolve_name
from threading import Thread

from peclip.data import forking
from tests.runs import Result, blank_pictures, run


def nothing(rank: int) -> None:
    """Do nothing."""


def at_once(
    folder: Path,
    args: Sequence[str | Path],
    environments: Sequence[Mapping[str, str]],
    before: Callable[[int], object] = nothing,
    limit: float = 120,
) -> list[Result]:
    """Run the command in a folder in several processes at once, each with the variables that its launcher would set.

    Args:
        folder: where; it is made.
        args: the command line.
        environments: the variables of each process, added to those of this one.
        before: called with the number of the process before the command runs in it; it can be pickled.
        limit: seconds after which the processes that still run are killed.

    Returns:
        The results in the order of the processes; the status is that of the process, -9 of one that was killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    runs = [
        partial(_run, folder, rank, args, dict(os.environ) | dict(variables), before)
        for rank, variables in enumerate(environments)
    ]
    return [_result(folder, rank, status) for rank, status in enumerate(_ended(runs, limit))]


def in_a_process(
    folder: Path, args: Sequence[str | Path], before: Callable[[], object] | None = None, limit: float = 600
) -> tuple[int, str]:
    """Run the command in a folder in a process of its own, as :func:`at_once` does; ``before`` takes no argument.

    Returns:
        The status, and what the process wrote to stderr.
    """
    (result,) = at_once(folder, args, [{}], nothing if before is None else OnRank(0, before), limit)
    return result.status, result.err


def called(folder: Path, function: Callable[[], object], stdin: Path = Path(os.devnull), limit: float = 120) -> Result:
    """Call a function in a folder in a process of its own, whose three streams are redirected as a shell does it.

    Args:
        folder: where, for what it prints, too.
        function: can be pickled; what it returns is the status, None is 0.
        stdin: what is redirected to it; a named pipe is as good as the pipe of a shell.
        limit: seconds after which the process is killed.
    """
    (status,) = _ended([partial(_call, folder, function, stdin)], limit)
    return _result(folder, 0, status)


def piped(folder: Path, function: Callable[[], object], content: bytes) -> Result:
    """Call a function as :func:`called` does, and pipe this content in."""
    pipe = folder / "stdin"
    os.mkfifo(pipe)
    feeder = Thread(target=_feed, args=(pipe, content))
    feeder.start()
    result = called(folder, function, pipe)
    feeder.join()
    pipe.unlink()
    return result


def _feed(pipe: Path, content: bytes) -> None:
    with suppress(BrokenPipeError):  # not everything is read to its end
        pipe.write_bytes(content)


@dataclass(frozen=True)
class OnRank:
    """Does something in one of several processes."""

    rank: int
    act: Callable[[], object]

    def __call__(self, rank: int) -> None:
        """Act where this is the rank."""
        if rank == self.rank:
            self.act()


@dataclass(frozen=True)
class AtCall:
    """Lets a function act at its call of a number, before it does what it did.

    Args:
        function: its place, as in ``package.module:Class.method``.
        number: of the call, from 1.
        act: what it does then.
    """

    function: str
    number: int
    act: Callable[[], object]

    def __call__(self, *_: object) -> None:
        """Put the function that acts into the place of the other."""
        place, _, name = self.function.rpartition("." if "." in self.function.partition(":")[2] else ":")
        owner, calls = resolve_name(place), count(1)
        original = getattr(owner, name)

        def counting(*args: object, **kwargs: object) -> object:
            if next(calls) == self.number:
                self.act()
            return original(*args, **kwargs)

        setattr(owner, name, counting)


def descendants(process: int) -> list[int]:
    """Return the processes that a process has started, those that these have started, and so on."""
    children = map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())
    return [found for child in children for found in (child, *descendants(child))]


def send(number: signal.Signals) -> None:
    """Send a signal to this process."""
    os.kill(os.getpid(), number)


def _ended(functions: Sequence[Callable[[], object]], limit: float) -> list[int]:
    """Call functions in a process each, kill those that run longer than the limit in seconds, and return their status."""
    forking.start_server()
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=function) for function in functions]
    with forking.main_module_hidden():
        for process in processes:
            process.start()
    deadline = time.monotonic() + limit
    for process in processes:
        process.join(max(deadline - time.monotonic(), 0))
    for process in processes:
        process.kill()  # what still runs
        process.join()
    return [process.exitcode or 0 for process in processes]


def _call(folder: Path, function: Callable[[], object], stdin: Path) -> None:
    streams = ((stdin, os.O_RDONLY), *((folder / f"{name}.0", os.O_WRONLY | os.O_CREAT) for name in ("out", "err")))
    for number, (path, flags) in enumerate(streams):
        os.dup2(os.open(path, flags, 0o600), number)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the server blocks some, a shell does not
    with chdir(folder):
        sys.exit(function())


def _run(
    folder: Path,
    rank: int,
    args: Sequence[str | Path],
    environment: dict[str, str],
    before: Callable[[int], object],
) -> None:
    from lightning.pytorch.utilities import rank_zero_only

    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the server blocks some, a shell does not
    os.environ.clear()
    os.environ.update(environment)
    rank_zero_only.rank = rank
    before(rank)
    with chdir(folder), blank_pictures():
        result = run(*args)
    for name in ("out", "err"):
        (folder / f"{name}.{rank}").write_text(getattr(result, name))
    os._exit(result.status)


def _result(folder: Path, rank: int, status: int) -> Result:
    texts = [folder / f"{name}.{rank}" for name in ("out", "err")]
    out, err = (path.read_text() if path.exists() else "" for path in texts)
    for path in texts:
        path.unlink(missing_ok=True)
    return Result(status, out, err)
