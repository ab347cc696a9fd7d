"""Prepare what comes next in a thread, while what is there is worked on."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, nullcontext
from typing import TypeVar

T = TypeVar("T")

_LOOK = 0.02  # seconds between two calls of what is done while nothing is there
_LEAVE = 2.0  # seconds that a thread gets to end: one that waits for a camera or a pipe cannot


def ahead(
    items: Iterator[T],
    most: int,
    idle: Callable[[], object] | None = None,
    omit: Callable[[T], object] | None = None,
) -> Iterator[T]:
    """Yield the items of an iterator in their order, while a thread advances it.

    Decoding, detection and scaling release Python's lock, so they take another core. Where the generator is closed or fails, so
    does this; and where this is closed, so is the generator.

    Args:
        items: advanced and closed by the thread only.
        most: items that wait at most; then the thread waits.
        idle: called again and again while there is no item.
        omit: called by the thread with the oldest item that waits, which it leaves out, where there is no room for the next;
            None to let the thread wait.
    """
    waiting, changed = deque[T](), threading.Condition()
    stopped, ended = threading.Event(), threading.Event()
    failure: list[BaseException] = []

    def put(item: T) -> None:
        with changed:
            changed.wait_for(lambda: stopped.is_set() or len(waiting) < most or omit is not None)
            if len(waiting) >= most and omit is not None:
                omit(waiting.popleft())
            waiting.append(item)
            changed.notify_all()

    def advance() -> None:
        try:
            with closing(items) if isinstance(items, Generator) else nullcontext():
                for item in items:
                    if stopped.is_set():
                        return
                    put(item)
        except BaseException as error:  # noqa: BLE001 - the reader raises it
            failure.append(error)
        finally:
            with changed:
                ended.set()
                changed.notify_all()

    thread = threading.Thread(target=advance, daemon=True)
    thread.start()
    try:
        while True:
            with changed:
                while not waiting and not ended.is_set():
                    changed.wait(None if idle is None else _LOOK)
                    if idle is not None and not waiting:
                        break
                item = waiting.popleft() if waiting else None
                is_over = item is None and ended.is_set()
                changed.notify_all()
            if is_over:
                break
            if item is not None:
                yield item
            elif idle is not None:
                idle()
    finally:
        with changed:
            stopped.set()
            changed.notify_all()
        if thread is not threading.current_thread():  # in which an iterator that is forgotten may be closed
            thread.join(_LEAVE)
    if failure:
        raise failure[0]
