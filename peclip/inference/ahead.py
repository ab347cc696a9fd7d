"""Compute the next items of an iterator in a thread, while the caller works on the current one."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, nullcontext
from typing import Generic, TypeVar

T = TypeVar("T")

_LOOK = 0.02  # seconds between two calls of what is done while nothing is there
_LEAVE = 2.0  # seconds that a thread gets to end: one that waits for a camera or a pipe cannot


class _Line(Generic[T]):
    """A queue of items from the thread that computes them to the reader.

    Args:
        most: largest number of items that wait; see :func:`ahead`.
        omit: function called with each item that is skipped; see :func:`ahead`.
    """

    def __init__(self, most: int, omit: Callable[[T], object] | None) -> None:
        self._most, self._omit = most, omit
        self._waiting, self._changed = deque[T](), threading.Condition()
        self._stopped = self._ended = False
        self.failure: BaseException | None = None

    def advance(self, items: Iterator[T]) -> None:
        """Put every item of an iterator into the queue, and keep the error that ends it; the thread runs this."""
        try:
            with closing(items) if isinstance(items, Generator) else nullcontext():
                for item in items:
                    if self._stopped:
                        return
                    self._put(item)
        except BaseException as error:  # noqa: BLE001 - the reader raises it
            self.failure = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, item: T) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._waiting) < self._most or self._omit is not None)
            if len(self._waiting) >= self._most and self._omit is not None:
                self._omit(self._waiting.popleft())
            self._waiting.append(item)
            self._changed.notify_all()

    def take(self, patience: float | None) -> tuple[T | None, bool]:
        """Return the next item, and whether the items have ended.

        Args:
            patience: seconds to wait for an item, which is None if none has come; None to wait until there is one.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended, patience)
            item = self._waiting.popleft() if self._waiting else None
            self._changed.notify_all()
            return item, item is None and self._ended

    def stop(self) -> None:
        """End the thread at its next item."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()


def ahead(
    items: Iterator[T],
    most: int,
    idle: Callable[[], object] | None = None,
    omit: Callable[[T], object] | None = None,
) -> Iterator[T]:
    """Yield the items of an iterator in their order, while a thread advances it.

    Decoding, detection and scaling release Python's lock, so they take another core. If the iterator fails, this generator
    raises its error; if this generator is closed, the iterator is closed, too.

    Args:
        items: iterator that only the thread advances and closes.
        most: largest number of items that wait for the reader; then the thread waits.
        idle: function called again and again while there is no item.
        omit: function that the thread calls with the oldest waiting item, which it then skips, if there is no room for the next one;
            None to let the thread wait.
    """
    line = _Line(most, omit)
    thread = threading.Thread(target=line.advance, args=(items,), daemon=True)
    thread.start()
    try:
        while True:
            item, is_over = line.take(None if idle is None else _LOOK)
            if is_over:
                break
            if item is not None:
                yield item
            elif idle is not None:
                idle()
    finally:
        line.stop()
        if thread is not threading.current_thread():  # in which an iterator that is forgotten may be closed
            thread.join(_LEAVE)
    if line.failure:
        raise line.failure
