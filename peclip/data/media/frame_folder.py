"""A clip that is a folder of frame images, in natural order."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from peclip.data.media.budget import Budget
from peclip.data.media.canvas import Canvas, read_image, slots_of
from peclip.errors import InputError
from peclip.files import IMAGE_SUFFIXES, natural_key


class FolderClip:
    """A folder of frame images.

    Args:
        folder: the folder.

    Raises:
        InputError: if the folder cannot be listed or has no image.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._files = folder, frame_files(folder)
        self._budget = Budget(folder, is_clip=True)

    @property
    def frames(self) -> int:
        """Number of frames of the clip."""
        return len(self._files)

    def read(self, indices: np.ndarray, size: int) -> torch.Tensor:
        """Read chosen frames (T,) of the clip as uint8 (T, 3, size, size).

        Raises:
            InputError: if one of them is not an image or is damaged.
        """
        canvas = Canvas(self._folder, len(indices), size)
        for index, places in slots_of(indices).items():
            canvas.put_picture(read_image(self._files[index], size, self._budget), places)
        return canvas.clip

    def read_all(self, size: int) -> Iterator[np.ndarray]:
        """Yield all frames, uint8 (3, size, size); errors are those of :meth:`read`."""
        for index in range(self.frames):
            yield self.read(np.array([index]), size)[0].numpy()


def is_folder(path: Path) -> bool:
    """Return whether this is a folder rather than a file, and refuse everything else.

    Raises:
        InputError: if there is nothing at the path, or something that is neither, such as a FIFO or a device, on
            which reading could wait for ever.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if stat.S_ISDIR(status.st_mode):
        return True
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: neither a file nor a folder: expected a video or a folder of frames")
    if status.st_size == 0:
        raise InputError(f"{path}: the file is empty: replace it")
    return False


def frame_files(folder: Path | str) -> list[str]:
    """List the frames of a folder in natural order.

    Raises:
        InputError: if the folder cannot be listed or has no image.
    """
    try:
        names = [e.name for e in os.scandir(folder) if e.name.lower().endswith(IMAGE_SUFFIXES) and e.name[0] != "."]
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror})") from error
    if not names:
        raise InputError(f"{folder}: has no image: expected frames as {', '.join(IMAGE_SUFFIXES)}")
    return [f"{folder}/{name}" for name in sorted(names, key=natural_key)]
