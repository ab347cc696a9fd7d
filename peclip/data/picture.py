"""From a decoded video frame or an image file to the pixels of a clip: upright, scaled once, the centre cut out."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from PIL import Image, ImageOps

from peclip.errors import InputError

MAX_PIXELS = 36_000_000
"""Frames with more pixels than this (8K has 33 million) are refused before they are decoded."""


def check_pixels(path: Path, width: int, height: int) -> None:
    """Refuse frames that are too large to be decoded in bounded memory.

    Raises:
        InputError: above `MAX_PIXELS`.
    """
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{path}: frames of {width}x{height} pixels are more than the limit of {MAX_PIXELS:,} pixels: scale it down"
        )


class Canvas:
    """The clip that is being filled: scales frames, turns them upright and cuts out their centre.

    Args:
        path: where the frames come from, for messages.
        num_frames: T.
        size: side of the frames in pixels.
        aspect: width of a pixel of the video over its height.

    Attributes:
        clip: uint8 (T, 3, size, size), RGB.
    """

    def __init__(self, path: Path, num_frames: int, size: int, aspect: Fraction) -> None:
        self.clip = torch.empty((num_frames, 3, size, size), dtype=torch.uint8)
        self._pixels = self.clip.numpy()
        self._path = path
        self._aspect = aspect
        self._scaler = VideoReformatter()

    def put(self, frame: VideoFrame, slots: np.ndarray) -> None:
        """Write a frame to its places along T."""
        size = self._pixels.shape[-1]
        sideways, mirror_x, mirror_y = _orientation(frame)
        width, height = frame.width * self._aspect, Fraction(frame.height)
        scale = size / min(width, height)
        width, height = max(size, round(width * scale)), max(size, round(height * scale))
        check_pixels(self._path, width, height)
        # planar, so that each colour is one block in the source and in the clip
        scaled = self._scaler.reformat(frame, width, height, "gbrp", interpolation=Interpolation.BICUBIC, threads=1)
        for channel, plane in enumerate(scaled.planes[i] for i in (2, 0, 1)):
            picture = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)[:, :width]
            picture = picture.T if sideways else picture
            picture = picture[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1]
            top, left = (picture.shape[0] - size) // 2, (picture.shape[1] - size) // 2
            self._pixels[slots[0], channel] = picture[top : top + size, left : left + size]
        self._pixels[slots[1:]] = self._pixels[slots[0]]


def upright(frame: VideoFrame, scaler: VideoReformatter) -> np.ndarray:
    """Return a frame as uint8 (H, W, 3) RGB at its full size, turned as its rotation metadata says."""
    picture = scaler.reformat(frame, format="rgb24", threads=1).to_ndarray()
    sideways, mirror_x, mirror_y = _orientation(frame)
    picture = picture.swapaxes(0, 1) if sideways else picture
    return np.ascontiguousarray(picture[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1])


def _orientation(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """Return how to show a frame: whether to swap its axes, and then mirror it left to right and top to bottom."""
    side_data: Any = frame.side_data  # PyAV's type hints know only one of its keys
    if SideDataType.DISPLAYMATRIX not in side_data:
        return False, False, False
    matrix = np.frombuffer(side_data[SideDataType.DISPLAYMATRIX], np.int32)
    a, b, _, c, d = matrix[:5].tolist()  # what is at (x, y) is shown at (a x + c y, b x + d y)
    return (True, c < 0, b < 0) if abs(b) > abs(a) else (False, a < 0, d < 0)


def read_image(path: Path, size: int) -> torch.Tensor:
    """Read an image file, scale its shorter side to `size` and cut out the centre.

    Args:
        path: a regular file.
        size: side of the result in pixels.

    Returns:
        uint8 (3, size, size), RGB.

    Raises:
        InputError: if it is not an image, is damaged or has more than `MAX_PIXELS` pixels.
    """
    try:
        with Image.open(path) as image:
            check_pixels(path, *image.size)
            picture = ImageOps.exif_transpose(image) if image.getexif() else image
            picture = picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not an image that can be read ({error}): replace it") from error
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    picture = picture.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)
