"""Show how far the work on a video is: a bar of its seconds, on stderr."""

from collections.abc import Callable
from typing import Self

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from peclip.console import PlainConsole


class Bar:
    """A line of the progress bar while its context lasts, called with the seconds of the video that are done."""

    def __init__(
        self, progress: Progress, name: str, length: float | None, pace: Callable[[float], None] | None = None
    ) -> None:
        self._progress, self._name, self._length, self._pace = progress, name, length, pace

    def __enter__(self) -> Self:
        """Show it."""
        self._task = self._progress.add_task(self._name, total=self._length)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        self._progress.remove_task(self._task)

    def __call__(self, seconds: float) -> None:
        """Note how far it is."""
        self._progress.update(self._task, completed=seconds)
        if self._pace is not None:
            self._pace(seconds)


def progress_on(console: PlainConsole) -> Progress:
    """Return a bar of the seconds of video that are done, on stderr; nothing where stderr is not a terminal."""
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
