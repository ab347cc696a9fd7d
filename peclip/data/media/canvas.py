"""Convert decoded video frames and image files to the pixels of a clip: upright, scaled once, the centre cut out."""

from __future__ import annotations

import os
import warnings
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from einops import rearrange
from PIL import Image, ImageOps, UnidentifiedImageError

from peclip.data.media.budget import Budget, check_scans
from peclip.data.media.incomplete import check_pointer
from peclip.errors import InputError
from peclip.files import open_regular

IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
"""The image formats that are tried on a frame; its suffix plays no part."""

MAX_PIXELS = 36_000_000
"""Frames with more pixels than this (8K has 33 million) are refused before they are decoded."""

_MAX_BYTES = 500_000_000  # largest image file; no image within the limit of pixels needs as much

_JPEG = b"\xff\xd8"
_PICTURES = {_JPEG: "JPEG", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF"}
_PNG = b"\x89PNG\r\n\x1a\n"

warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `check_pixels` refuses earlier than Pillow warns


def reason(error: Exception) -> str:
    """Return a library's message, without the path and the number that Python adds."""
    return str(getattr(error, "strerror", None) or error).rstrip(".")


def check_pixels(path: Path | str, width: int, height: int) -> None:
    """Refuse frames that are too large to be decoded in bounded memory.

    Raises:
        InputError: above `MAX_PIXELS`.
    """
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{path}: frames of {width}x{height} pixels are more than the limit of {MAX_PIXELS:,} pixels: scale it down"
        )


class Canvas:
    """A clip to be filled: scales frames, turns them upright and cuts out their centre.

    Args:
        path: file or folder of the frames, for messages.
        num_frames: T.
        size: side of the frames in pixels.
        aspect: width of a pixel of the video over its height.

    Attributes:
        clip: uint8 (T, 3, size, size), RGB.
    """

    def __init__(self, path: Path, num_frames: int, size: int, aspect: Fraction = Fraction(1)) -> None:
        self.clip = torch.empty((num_frames, 3, size, size), dtype=torch.uint8)
        self._pixels = self.clip.numpy()
        self._path = path
        self._aspect = aspect
        self._scaler = VideoReformatter()
        self._geometry = _Geometry((0, 0, 0), 0, 0, (False, False, False), slice(0), slice(0), "gbrp")

    def put(self, frame: VideoFrame, slots: np.ndarray) -> None:
        """Write a frame to its places along T."""
        shape = frame.width, frame.height, frame.rotation
        if shape != self._geometry.shape:
            self._geometry = self._measure(frame)
        _, width, height, turn, rows, columns, layout = self._geometry
        scaled = self._scaler.reformat(frame, width, height, layout, interpolation=Interpolation.BICUBIC, threads=1)
        target = self._pixels[slots[0]]
        if layout == "rgb24":
            target[:] = rearrange(_turn(scaled.to_ndarray(), turn)[rows, columns], "h w c -> c h w")
        else:
            for channel, plane in zip((1, 2, 0), scaled.planes, strict=True):
                picture = np.frombuffer(memoryview(plane), np.uint8).reshape(height, -1)[:, :width]
                target[channel] = _turn(picture, turn)[rows, columns]
        if len(slots) > 1:
            self._pixels[slots[1:]] = target

    def put_picture(self, picture: Image.Image, slots: np.ndarray) -> None:
        """Write an RGB image to its places along T."""
        if picture.size != self._pixels.shape[:-3:-1]:
            self.put_image(np.asarray(picture), slots)
            return
        target = self._pixels[slots[0]]
        # colour by colour: Pillow splits them faster than numpy moves the axes of all of them
        for channel, plane in enumerate(picture.split()):
            target[channel] = np.frombuffer(plane.tobytes(), np.uint8).reshape(target.shape[1:])
        if len(slots) > 1:
            self._pixels[slots[1:]] = target

    def put_image(self, pixels: np.ndarray, slots: np.ndarray) -> None:
        """Write uint8 (H, W, 3) RGB to its places along T."""
        size = self._pixels.shape[-1]
        if pixels.shape[:2] == (size, size):
            self._pixels[slots] = rearrange(pixels, "h w c -> c h w")
        else:
            self.put(VideoFrame.from_ndarray(pixels, format="rgb24"), slots)

    def _measure(self, frame: VideoFrame) -> _Geometry:
        size = self._pixels.shape[-1]
        width, height = frame.width * self._aspect, Fraction(frame.height)
        scale = size / min(width, height)
        scaled = max(size, round(width * scale)), max(size, round(height * scale))
        check_pixels(self._path, *scaled)
        turn = _orientation(frame)
        left, top = ((side - size) // 2 for side in (reversed(scaled) if turn[0] else scaled))
        shape = frame.width, frame.height, frame.rotation
        # Planar, so that each colour is one block in the source and in the clip. But if nothing is scaled, FFmpeg (libswscale
        # 9.5) does not write the last columns of planes whose width is up to 8 more than a multiple of 16.
        is_unwritten = scaled == (frame.width, frame.height) and 1 <= frame.width % 16 <= 8
        layout = "rgb24" if is_unwritten else "gbrp"
        return _Geometry(shape, *scaled, turn, slice(top, top + size), slice(left, left + size), layout)


def slots_of(indices: np.ndarray) -> dict[int, np.ndarray]:
    """Return, for each frame number that is wanted, its places along T.

    Args:
        indices: (T,) frame numbers, in which one may occur several times.
    """
    return {int(index): np.flatnonzero(indices == index) for index in np.unique(indices)}


class _Geometry(NamedTuple):
    """Layout of frames of one shape in a clip: scaled to width and height in a layout of FFmpeg's, turned, and then cut."""

    shape: tuple[int, int, int]
    width: int
    height: int
    turn: tuple[bool, bool, bool]
    rows: slice
    columns: slice
    layout: str


def upright(frame: VideoFrame, scaler: VideoReformatter, aspect: Fraction = Fraction(1)) -> np.ndarray:
    """Return a frame as uint8 (H, W, 3) RGB at its full size, turned as its rotation metadata says.

    Args:
        frame: decoded.
        scaler: reused from frame to frame.
        aspect: width of a pixel over its height; other than 1, the frame is made wider or narrower by it.
    """
    width = max(1, round(frame.width * aspect))
    picture = scaler.reformat(frame, width, format="rgb24", threads=1).to_ndarray()
    return np.ascontiguousarray(_turn(picture, _orientation(frame)))


def _turn(picture: np.ndarray, turn: tuple[bool, bool, bool]) -> np.ndarray:
    sideways, mirror_x, mirror_y = turn
    picture = rearrange(picture, "h w ... -> w h ...") if sideways else picture
    return picture[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1]


def _orientation(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """Return how to show a frame: whether to swap its axes, and then mirror it left to right and top to bottom."""
    side_data: Any = frame.side_data  # PyAV's type hints know only one of its keys
    if SideDataType.DISPLAYMATRIX not in side_data:
        return False, False, False
    matrix = np.frombuffer(side_data[SideDataType.DISPLAYMATRIX], np.int32)
    a, b, _, c, d = matrix[:5].tolist()  # what is at (x, y) is shown at (a x + c y, b x + d y)
    return (True, c < 0, b < 0) if abs(b) > abs(a) else (False, a < 0, d < 0)


def picture_kind(path: Path | str) -> str | None:
    """Return the kind of picture that a file is, such as "a JPEG picture"; None if it is none."""
    with open_regular(path) as file:
        head = file.read(64)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "an animated WebP picture" if head[12:16] == b"VP8X" and head[20] & 2 else "a WebP picture"
    if head.startswith(_PNG):
        return "an animated PNG picture" if b"acTL" in head else "a PNG picture"
    return next((f"a {name} picture" for start, name in _PICTURES.items() if head.startswith(start)), None)


def read_image(path: str, size: int, budget: Budget | None = None) -> Image.Image:
    """Read an image file.

    Args:
        path: the file.
        size: shorter side wanted in the end, in pixels: a JPEG much larger than that is not read in full detail.
        budget: budget of the clip that the image belongs to; None for no limit.

    Returns:
        the image, RGB and upright.

    Raises:
        InputError: if it is not an image, is damaged or has more than `MAX_PIXELS` pixels, or the budget is exceeded.
    """
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > _MAX_BYTES:
                raise InputError(f"{path}: not an image, which has at most {_MAX_BYTES:,} bytes: replace it")
            data = file.read()  # at once: Pillow reads a file in many small steps
        scans = check_scans(path, data, is_picture=True) if data.startswith(_JPEG) else 1
        if data.startswith(_PNG):
            with Image.open(BytesIO(data), formats=("PNG",)) as image:
                image.verify()  # the checksums, which loading ignores
        with Image.open(BytesIO(data), formats=IMAGE_FORMATS) as image:
            check_pixels(path, *image.size)
            if image.format in ("PNG", "WEBP") and getattr(image, "is_animated", False):
                raise InputError(f"{path}: is an animated picture, expected one of a single frame: write it as mp4")
            if budget is not None:
                budget.spend(image.width * image.height * scans, len(data))
            image.draft("RGB", (2 * size, 2 * size))  # a large JPEG is decoded at a half, a quarter or an eighth
            picture = ImageOps.exif_transpose(image) if "exif" in image.info else image
            picture.load()
            if picture.mode.startswith("I"):  # 16 bits of grey, which Pillow would cut off at 255
                picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
            return picture if picture.mode == "RGB" else picture.convert("RGB")
    except InputError:
        raise
    except UnidentifiedImageError as error:
        check_pointer(path, data)
        raise InputError(f"{path}: not an image ({', '.join(IMAGE_FORMATS)} are read): replace it") from error
    except Exception as error:  # Pillow's readers raise errors of any type for a damaged file
        what = reason(error) or type(error).__name__
        raise InputError(f"{path}: not an image that can be read ({what}): replace it") from error
