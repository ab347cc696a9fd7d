"""Clip format: number, side and normalisation of the frames that a model takes; and the views of a clip in an evaluation.

The model owns the format, checkpoints carry it, and data are read to fit it. The views are a choice of the evaluation.
"""

import math
from collections.abc import Collection
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any

from peclip.arguments import check, check_fields, keep_plain
from peclip.errors import InputError, shown

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation of the pixels that OpenAI's CLIP was trained on, by channel (RGB)."""

UNIT_MEAN, UNIT_STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
"""Leave pixels in [0, 1] as they are."""

MAX_FRAMES = 10_000
"""Largest number of frames per clip: more are a slip of the finger, and would fill the memory."""

MOST_VIEWS = 32
"""Largest number of views of one kind: each costs as much as the whole evaluation."""


@dataclass(frozen=True)
class ClipFormat:
    """Frames, size and normalisation of the clips that a model accepts.

    Attributes:
        num_frames: T, frames of a clip; 1 to :data:`MAX_FRAMES`.
        image_size: side of the square frames in pixels; at least 1.
        mean: subtracted from pixels in [0, 1], by channel (RGB).
        std: divisor of the difference, by channel; above 0.
        upright: whether faces are turned so that the eyes are level, as ``peclip faces --upright true`` does.

    Raises:
        InputError: a value is out of range.
    """

    num_frames: int = 16
    image_size: int = 224
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    upright: bool = False

    def __post_init__(self) -> None:
        keep_plain(self)
        if not _is_whole(self.num_frames) or self.num_frames > MAX_FRAMES:
            raise InputError(f"num_frames is {shown(self.num_frames)}, expected 1 to {MAX_FRAMES}", "num_frames")
        if not _is_whole(self.image_size):
            raise InputError(f"image_size is {shown(self.image_size)}, expected at least 1")
        for name, values, low in (("mean", self.mean, -math.inf), ("std", self.std, 0.0)):
            if (
                not isinstance(values, Collection)
                or isinstance(values, set | frozenset)  # their order is not that of the channels
                or len(values) != 3
                or not all(_is_number(value) and value > low for value in values)
            ):
                raise InputError(
                    f"{name} is {shown(values)}, expected three numbers{' above 0' if low == 0 else ''} in a list"
                )
            object.__setattr__(self, name, tuple(float(value) for value in values))
        check("upright", self.upright, bool)

    @property
    def is_normalised(self) -> bool:
        """True if pixels are normalised, False if they stay in [0, 1]."""
        return (self.mean, self.std) != (UNIT_MEAN, UNIT_STD)

    def differences(self, other: "ClipFormat") -> dict[str, tuple[Any, Any]]:
        """Return the fields in which another format differs, each with this format's value and the other's."""
        check("other", other, ClipFormat)
        mine, others = asdict(self), asdict(other)
        return {name: (mine[name], others[name]) for name in mine if mine[name] != others[name]}


@dataclass(frozen=True)
class Views:
    """Views of a clip in an evaluation, each clip with each crop; a clip's probabilities are the means over them.

    The family of VideoMAE tests with several (https://arxiv.org/abs/2203.12602: 5 clips and 3 crops).

    Attributes:
        clips: choices of T frames, each shifted against the others within the T segments of the clip; 1 to 32. 1 takes the middle.
        crops: squares of 7/8 of the frame's side, from its left to its right end, enlarged to the whole frame; 1 to 32. 1 takes
            the whole frame.
    """

    clips: int = 1
    crops: int = 1

    def __post_init__(self) -> None:
        check_fields(self)
        for name, value in (("clips", self.clips), ("crops", self.crops)):
            if not 1 <= value <= MOST_VIEWS:
                raise InputError(f"{name} is {value}, expected 1 to {MOST_VIEWS}", name)

    @property
    def count(self) -> int:
        """Number of views of a clip."""
        return self.clips * self.crops

    def __str__(self) -> str:
        """Return the views as reports name them."""
        return f"{self.count} views of each clip: {self.clips} in time, {self.crops} in space"


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
