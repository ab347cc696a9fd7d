"""Views: how often an evaluation looks at a clip."""

from dataclasses import dataclass

from peclip.arguments import check_fields
from peclip.errors import InputError

MOST = 32
"""Largest number of views of one kind: each costs as much as the whole evaluation."""


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
            if not 1 <= value <= MOST:
                raise InputError(f"{name} is {value}, expected 1 to {MOST}", name)

    @property
    def count(self) -> int:
        """Number of views of a clip."""
        return self.clips * self.crops

    def __str__(self) -> str:
        """Return the views as reports name them."""
        return f"{self.count} views of each clip: {self.clips} in time, {self.crops} in space"
