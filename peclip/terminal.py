"""Print to the terminal: without characters that it would obey, and also where a stream is closed.

Streams are closed before the program starts (``>&-``), or by a reader that has seen enough (``| head``).
"""

import io
import os
import stat
import sys
from typing import Any

from peclip.errors import printable


def say(*lines: object, error: bool = False) -> None:
    """Print lines as they are, except for characters that a terminal would obey; see :func:`peclip.errors.printable`.

    Args:
        lines: each is printed on a line of its own.
        error: print to stderr.
    """
    print(*(printable(str(line)) for line in lines), sep="\n", file=sys.stderr if error else sys.stdout, flush=True)


def open_streams() -> None:
    """Let output that nobody reads vanish, rather than end a training, or land in the next file that is opened."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # becomes the lowest number that is free
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as long as the process lives
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may not have every letter of a name
        if stream is None or (stream is getattr(sys, f"__{name}__") and _has_reader(number)):
            setattr(sys, name, _without_end(stream, number))


class _Pipe(io.FileIO):
    """A file whose writes vanish when its reader has closed it."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return super().write(data)


def _has_reader(number: int) -> bool:
    mode = os.fstat(number).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _without_end(stream: Any, number: int) -> io.TextIOWrapper:
    """Return a stream like another one, or like Python's own if there is none, that outlives its reader."""
    names = ("encoding", "errors", "line_buffering", "write_through")
    like = {name: getattr(stream, name) for name in names} if stream else {}
    if stream:
        stream.flush()
    pipe: Any = _Pipe(number, "w", closefd=False)
    return io.TextIOWrapper(pipe if like.get("write_through") else io.BufferedWriter(pipe), **like)
