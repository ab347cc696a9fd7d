"""A window on the screen that shows frames, by Python's own tkinter and Pillow: OpenCV without a screen is what peclip installs."""

from typing import Any, Self

import numpy as np
from PIL import Image

from peclip.errors import InputError


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
