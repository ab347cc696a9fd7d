"""Paint on a picture in place: rectangles and text, quickly enough for every frame of a video."""

from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
"""Red, green and blue, each from 0 to 255."""

WHITE, BLACK, GREY = (255, 255, 255), (0, 0, 0), (128, 128, 128)

_KEPT = 512  # texts that are kept as drawn


def rgb(colour: str) -> Colour:
    """Return a colour such as ``#dd9d0b`` as red, green and blue, from 0 to 255."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return red, green, blue


def fill(
    picture: np.ndarray, left: float, top: float, right: float, bottom: float, colour: Colour, cover: float = 1.0
) -> None:
    """Fill a rectangle.

    Args:
        picture: uint8 (H, W, 3), changed in place.
        left: left edge of the rectangle in pixels; each edge may lie beyond the picture.
        top: top edge in pixels.
        right: right edge in pixels.
        bottom: bottom edge in pixels.
        colour: colour of the rectangle.
        cover: opacity, from 0 (invisible) to 1.
    """
    edges = (max(0, round(edge)) for edge in (top, bottom, left, right))
    area = picture[slice(next(edges), next(edges)), slice(next(edges), next(edges))]
    if cover >= 1:
        area[:] = colour
    elif area.size:
        kept, added = round(256 * (1 - cover)), np.array(colour) * round(256 * cover)
        area[:] = (area.astype(np.uint16) * kept + added.astype(np.uint16)) >> 8


def outline(
    picture: np.ndarray, left: float, top: float, right: float, bottom: float, colour: Colour, width: int
) -> None:
    """Draw the outline of a rectangle; see :func:`fill`."""
    fill(picture, left, top, right, top + width, colour)
    fill(picture, left, bottom - width, right, bottom, colour)
    fill(picture, left, top, left + width, bottom, colour)
    fill(picture, right - width, top, right, bottom, colour)


def write(picture: np.ndarray, left: float, top: float, text: str, size: int, colour: Colour = WHITE) -> None:
    """Write a line of text.

    Args:
        picture: uint8 (H, W, 3), changed in place.
        left: left edge of the text in pixels; what lies beyond the picture is cut.
        top: top edge of the text in pixels.
        text: line to write; characters that the font lacks are drawn as boxes.
        size: size of the font in pixels.
        colour: colour of the letters.
    """
    mask, x, y = _mask(text, size), round(left), round(top)
    mask = mask[max(0, -y) : max(0, picture.shape[0] - y), max(0, -x) : max(0, picture.shape[1] - x)]
    area = picture[max(0, y) : max(0, y) + mask.shape[0], max(0, x) : max(0, x) + mask.shape[1]]
    if area.size:
        cover = mask[..., None].astype(np.uint16)
        area[:] = (area * (255 - cover) + cover * np.array(colour, np.uint16) + 127) // 255


def width_of(text: str, size: int) -> int:
    """Return the width of a text in pixels."""
    return int(_mask(text, size).shape[1])


def height_of(size: int) -> int:
    """Return the height of a line in pixels."""
    return sum(_font(size).getmetrics())


def fitting(text: str, size: int, width: float) -> str:
    """Return a text, cut at its end if it is wider than some pixels; empty if not even one letter has room."""
    if width_of(text, size) <= width:
        return text
    letters = int(len(text) * max(width, 0) / width_of(text, size))
    while letters and width_of(f"{text[:letters]}…", size) > width:
        letters -= 1
    return f"{text[:letters]}…" if letters > 1 else ""


def wrapped(text: str, size: int, width: float) -> list[str]:
    """Return the lines of a text, broken at spaces so that each is at most some pixels wide; a longer word is cut."""
    lines: list[str] = []
    for word in text.split():
        if lines and width_of(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(fitting(word, size, width))
    return lines


@lru_cache(_KEPT)
def _mask(text: str, size: int) -> np.ndarray:
    """Return the opacity of each pixel of a line of text, uint8 (H, W)."""
    font = _font(size)
    image = Image.new("L", (max(1, round(font.getlength(text))), height_of(size)))
    ImageDraw.Draw(image).text((0, 0), text, fill=255, font=font)
    return np.asarray(image)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    from matplotlib import get_data_path  # takes a moment

    return ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)
