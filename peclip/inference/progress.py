"""Show the progress of videos: a bar of their seconds on stderr, and an early estimate of the time that is left."""

import time
from collections.abc import Callable
from typing import Self

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from peclip.console import PlainConsole

WORTH = 10.0
"""Least seconds that are left for which the estimate is reported."""

SETTLED = 2.0
"""Seconds after the first answers from which on the pace is known: the windows that were read ahead are used up then."""

_BATCH = 0.25  # seconds within which answers are taken to be of one batch, and to come at once


class Bar:
    """A line of the progress bar while its context lasts, called with the seconds of the video that are done."""

    def __init__(
        self, progress: Progress, name: str, length: float | None, pace: Callable[[float], None] | None = None
    ) -> None:
        self._progress, self._name, self._length, self._pace = progress, name, length, pace

    def __enter__(self) -> Self:
        """Show the bar."""
        self._task = self._progress.add_task(self._name, total=self._length)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar."""
        self._progress.remove_task(self._task)

    def __call__(self, seconds: float) -> None:
        """Update the seconds that are done."""
        self._progress.update(self._task, completed=seconds)
        if self._pace is not None:
            self._pace(seconds)


def progress_on(console: PlainConsole) -> Progress:
    """Return a bar of the seconds of video that are done, on stderr; it shows nothing if stderr is not a terminal."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f} s of video"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class Pace:
    """Measures how fast videos are recognized, and reports once how long the rest takes.

    The first answers take longer, and answers come in batches, so the pace is measured from one batch to another.

    Args:
        length: total duration of the videos in seconds; None if it is not known.
        report: function called with the sentence.
    """

    def __init__(self, length: float | None, report: Callable[[str], object]) -> None:
        self._length, self._report, self._before = length, report, 0.0
        # when each came, and up to which second; the last may not be complete
        self._batches: list[tuple[float, float]] = []

    def __call__(self, end: float) -> None:
        """Note that the videos are recognized up to a second."""
        now = time.monotonic()
        if self._length is None:
            return
        if self._batches and now - self._batches[-1][0] < _BATCH:
            self._batches[-1] = self._batches[-1][0], max(end, self._batches[-1][1])
            return
        if len(self._batches) > 1:
            (began, first), (came, done) = self._batches[0], self._batches[-1]
            if came - began >= SETTLED and done > first:
                self._say((self._length - done) * (came - began) / (done - first) - (now - came))
                return
            self._batches.pop()
        self._batches.append((now, end))

    def of_next(self, length: float | None) -> Callable[[float], None]:
        """Return a function to call with the seconds of the next video.

        Args:
            length: duration of that video in seconds; None if it is not known, and then it does not count.
        """
        before = self._before
        self._before += length or 0.0
        return lambda end: None if length is None else self(before + min(end, length))

    def _say(self, left: float) -> None:
        if left >= WORTH:
            self._report(f"{self._length:,.0f} s of video; about {span(_roughly(left))} left")
        self._length = None


def _roughly(seconds: float) -> float:
    """Return an estimate rounded to its precision: whole minutes from 90 s on."""
    return round(seconds) if seconds < 90 else 60 * round(seconds / 60)


def span(seconds: float) -> str:
    """Return a length of time in words, such as ``2.4 s`` or ``1 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number)
