"""Detect clips that are whole frames of a data set that shows more than faces."""

from pathlib import Path

from peclip.data.benchmarks.actors import actor_of
from peclip.data.manifest import Clip, Manifest
from peclip.data.media.clip import clip_frames
from peclip.errors import InputError
from peclip.labels import are_expressions

NAMES = {"ravdess": "RAVDESS", "cremad": "CREMA-D"}
"""Data sets whose releases show head and shoulders in a wide picture, and whose clips are known by their names."""

WIDE, TALL = 1.2, 1.6
"""Width of a frame over its height, and height over its width, from which it is not the crop of a face: the boxes of faces are
taller than wide, and videos of telephones 16 : 9."""

_LOOKED_AT = 5  # clips; a manifest may list several data sets one after another


def advice_on_whole_frames(manifest: Manifest) -> str:
    """Return a line of advice if clips of expressions have the shape of whole frames; else an empty string.

    A few clips are looked at, from the first to the last.
    """
    count = len(manifest)
    places = sorted({place * (count - 1) // (_LOOKED_AT - 1) for place in range(_LOOKED_AT)}) if count else []
    clips = [manifest.clip(place) for place in places]
    known = [name for clip in clips for name in NAMES if actor_of(name, Path(clip.path))]
    if not known and not are_expressions(manifest.labels):
        return ""
    sizes = [size for clip in clips if (size := _size(clip))]
    whole = [(width, height) for width, height in sizes if width >= WIDE * height or height >= TALL * width]
    if not whole:
        return ""
    width, height = whole[0]
    return (
        f"{'These' if len(whole) == len(sizes) else 'Some'} clips{f' of {NAMES[known[0]]}' if known else ''} are whole frames "
        f"({width} x {height}), but peclip recognize crops faces: crop these with peclip faces before"
        f"{f', see peclip recipes {known[0]}' if known else ''}"
    )


def _size(clip: Clip) -> tuple[int, int] | None:
    """Return width and height of the first frame of a clip; None if it cannot be read, which the training reports."""
    try:
        _, frame = next(clip_frames(clip.path))  # frames of one file have one size: its beginning is read at once
    except (InputError, StopIteration):
        return None
    return frame.shape[1], frame.shape[0]
