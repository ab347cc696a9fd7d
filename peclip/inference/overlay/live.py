"""Show the pictures of a camera and the answers about them: a line for each answer, a window on request, and the latency.

The window is one of Python's own tkinter and Pillow: OpenCV without a screen is what peclip installs.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any, Self

import numpy as np
from PIL import Image

from peclip.errors import InputError
from peclip.inference.ahead import ahead
from peclip.inference.overlay.draw import SPAN, Drawing, Moment
from peclip.inference.recognizer import Row
from peclip.inference.segments import Segment
from peclip.inference.windows import Box, View, Window
from peclip.terminal import say

_KEPT = 10_000  # latencies that are remembered


class ScreenWindow:
    """A window that shows pictures until somebody closes it or presses Escape or q. It belongs to the main thread.

    Args:
        title: title of the window.

    Attributes:
        is_open: whether the window is still open.

    Raises:
        InputError: there is no display, or Python has no tkinter.
    """

    def __init__(self, title: str) -> None:
        try:
            import tkinter

            from PIL import ImageTk

            self._photo: Any = ImageTk.PhotoImage
            self._root: Any = tkinter.Tk()
        except ImportError as error:
            raise InputError(
                f"show: a window needs Python's tkinter ({error}): install it (apt install python3-tk), or omit --show: "
                "answers are printed as lines"
            ) from error
        except tkinter.TclError as error:
            raise InputError(
                f"show: a window needs a display ({error}): omit --show, answers are printed as lines"
            ) from error
        self.is_open = True
        self._root.title(title)
        self._label: Any = tkinter.Label(self._root, borderwidth=0)
        self._label.pack()
        self._root.protocol("WM_DELETE_WINDOW", self.close)
        for key in ("<Escape>", "q"):
            self._root.bind(key, lambda _: self.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def show(self, picture: np.ndarray) -> None:
        """Show a picture, uint8 (H, W, 3)."""
        if self.is_open:
            self._shown = self._photo(Image.fromarray(picture))  # tkinter does not keep it
            self._label.configure(image=self._shown)

    def update(self) -> None:
        """Let the window react to its user."""
        if self.is_open:
            self._root.update()

    def close(self) -> None:
        """Close the window."""
        if self.is_open:
            self.is_open = False
            self._root.destroy()


class Live:
    """A camera that is watched.

    Args:
        labels: class names, in the order of the probabilities.
        caution: sentence about every answer of the model; empty if there is none.
        is_about_faces: whether answers are about faces, which then have numbers.
        window: window that shows its pictures; None to print lines only.
        stop: function called when the window is closed.
    """

    def __init__(
        self,
        labels: Sequence[str],
        caution: str,
        is_about_faces: bool,
        window: ScreenWindow | None,
        stop: Callable[[], object],
    ) -> None:
        self._is_about_faces = is_about_faces
        self._labels, self._caution, self._window, self._stop = labels, caution, window, stop
        self._begin: float | None = None  # of the stream, on the clock of the machine
        self._latencies, self._omitted = deque[float](maxlen=_KEPT), 0
        self._frame: tuple[float, np.ndarray] | None = None
        self._latest: tuple[float, np.ndarray, View] | None = None  # not shown yet
        self._answers = deque[Segment]()
        self._drawing: Drawing | None = None

    def frames(self, frames: Iterator[tuple[float, np.ndarray]]) -> Iterator[tuple[float, np.ndarray]]:
        """Yield frames, and note when they arrive."""
        for seconds, frame in frames:
            begin = time.monotonic() - seconds
            self._begin = begin if self._begin is None else min(self._begin, begin)  # the one that came soonest
            self._frame = seconds, frame
            yield seconds, frame

    def see(self, seconds: float, view: View) -> None:
        """Note the faces of the latest frame."""
        if self._window is not None and self._frame is not None:
            self._latest = seconds, self._frame[1], view

    def omit(self, window: Window) -> None:
        """Count a window that is skipped because the model is too slow."""
        self._omitted += 1

    def through(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Yield the rows as they arrive, and print them; pictures are shown in the meantime."""
        for row in ahead(rows, 1, self._idle if self._window else None):
            self._answer(row)
            yield row

    def _answer(self, row: Row) -> None:
        """Print an answer, and note its latency after its last frame."""
        if self._begin is not None:
            self._latencies.append(time.monotonic() - self._begin - row.end)
        if row.track is None or row.label is None:
            say(f"{row.start:.1f}-{row.end:.1f} s: no face")
            return
        notes = f" ({', '.join(row.cautions)})" if row.cautions else ""
        who = f"face {row.track}: " if self._is_about_faces else ""
        say(f"{row.start:.1f}-{row.end:.1f} s: {who}{row.label} {row.probabilities[row.label]:.2f}{notes}")
        if self._window is None:
            return
        before = max((each.end for each in self._answers if each.track == row.track), default=0.0)
        probabilities = np.array([row.probabilities[label] for label in self._labels], np.float32)
        self._forget(row.start)
        start, label = min(max(row.start, before), row.end), list(self._labels).index(row.label)
        self._answers.append(Segment(row.track, start, row.end, label, probabilities, row.cautions))

    def _idle(self) -> None:
        """Show the latest frame, and let the window react."""
        if self._window is None:
            return
        latest, self._latest = self._latest, None
        if latest is not None:
            self._window.show(self._drawn(*latest))
        self._window.update()
        if not self._window.is_open:
            self._stop()

    def summary(self) -> str:
        """Return a sentence that says how long after a frame the answers came; empty if there was no answer."""
        if not self._latencies:
            return ""
        text = f"answers came {median(self._latencies):.2f} s after the last frame of their window (median; at most "
        text += f"{max(self._latencies):.2f} s)"
        if self._omitted:
            text += f"; {self._omitted} windows were skipped, because the model is slower than the camera: a larger --stride helps"
        return text

    def _forget(self, seconds: float) -> None:
        """Forget the answers that are too old to be drawn at a time."""
        while self._answers and self._answers[0].end < seconds - SPAN:
            self._answers.popleft()

    def _drawn(self, seconds: float, frame: np.ndarray, view: View) -> np.ndarray:
        height, width = frame.shape[:2]
        if self._drawing is None or (self._drawing.width, self._drawing.height) != (width, height):
            self._drawing = Drawing(width, height, self._labels, self._caution)
        self._forget(seconds)
        answers, latest = list(self._answers), dict[int, Segment]()
        for answer in answers:
            latest[answer.track] = answer
        boxes: dict[int, Box] = {
            tracked.number: seen.box for tracked, seen in view.faces.items() if tracked.number is not None
        }
        canvas = np.zeros((height + self._drawing.band, width, 3), np.uint8)
        canvas[:height] = frame
        self._drawing.draw(canvas, Moment(seconds, boxes, latest, latest, answers, None, view.not_followed))
        return canvas
