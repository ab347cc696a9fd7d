"""End a recording on an interrupt, and keep its rows; end a run on signals without leaving files behind."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from peclip.errors import InputError


@contextmanager
def interruptible(
    frames: Iterator[tuple[float, np.ndarray]], report: Callable[[InputError], None], stopped: threading.Event
) -> Iterator[Iterator[tuple[float, np.ndarray]]]:
    """Return frames that end when the source breaks off or the user interrupts; a second interrupt ends the process.

    Args:
        frames: frames of a pipe or a camera, each its time in seconds and uint8 (H, W, 3) RGB.
        report: function called with the error if the source breaks off.
        stopped: event that ends the frames; an interrupt sets it.
    """
    before = signal.getsignal(signal.SIGINT)

    def stop(*_: Any) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, before)

    def watched() -> Iterator[tuple[float, np.ndarray]]:
        yield next(frames)  # a source that cannot be read at all fails like a file
        try:
            for frame in frames:
                if stopped.is_set():
                    return
                yield frame
        except InputError as error:
            report(error)

    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:
        signal.signal(signal.SIGINT, stop)
    try:
        yield watched()
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, before)


@contextmanager
def tidy_end() -> Iterator[None]:
    """End the process through an exception on SIGTERM and SIGHUP, so that no incomplete file stays behind."""

    def end(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
