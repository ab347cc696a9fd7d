"""Say early how long a video will take."""

import time
from collections.abc import Callable

WORTH = 10.0
"""Seconds that are worth a line."""


class Pace:
    """Watches how fast a video is recognised, and says once how long the rest takes.

    The first answers also pay for what happens once, so the pace is that of the second ones.

    Args:
        length: of the video in seconds; None where it is not known.
        report: called with the sentence.
    """

    def __init__(self, length: float | None, report: Callable[[str], object]) -> None:
        self._length, self._report = length, report
        self._first: tuple[float, float] | None = None

    def __call__(self, end: float) -> None:
        """Note that the video is recognised up to a second."""
        now = time.monotonic()
        if self._length is None:
            return
        if self._first is None:
            self._first = now, end
        elif end > self._first[1]:
            left = (self._length - end) * (now - self._first[0]) / (end - self._first[1])
            if left >= WORTH:
                self._report(f"{self._length:,.0f} s of video; about {duration(left)} left")
            self._length = None


def duration(seconds: float) -> str:
    """Return a duration as people say it: 40 s, 3 min, 2 h 10 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
