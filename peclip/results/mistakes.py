"""The worst mistakes of an evaluation: clips that were surely predicted as another class, with their frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from peclip.results.figures import LONGEST, new_figure, save, shortened

MOST = 12
"""Mistakes that are kept."""


@dataclass(frozen=True, eq=False)
class Mistake:
    """A clip whose predicted class is not its own.

    Attributes:
        path: path of the clip.
        truth: the true class.
        predicted: the most probable class.
        probability: probability of the predicted class.
        probability_of_truth: probability of the true class.
        frames: some of its frames, uint8 (N, H, W, 3).
    """

    path: str
    truth: str
    predicted: str
    probability: float
    probability_of_truth: float
    frames: np.ndarray


def worst(mistakes: Sequence[Mistake]) -> list[Mistake]:
    """Return the mistakes with the highest probabilities, at most :data:`MOST`; those of equal probability are in the order of their paths."""
    return sorted(mistakes, key=lambda mistake: (-mistake.probability, mistake.path))[:MOST]


def draw_mistakes(target: Path, mistakes: Sequence[Mistake], title: str) -> None:
    """Draw a row of frames for each mistake, with its true and predicted class above."""
    rows = max(len(mistakes), 1)
    figure = new_figure(8, 0.7 + 1.35 * rows)
    figure.suptitle(title, parse_math=False)
    every = figure.subplots(rows, 1, squeeze=False)[:, 0]
    for axes in every:
        axes.set_axis_off()
    if not mistakes:
        every[0].text(0.5, 0.5, "no mistake", ha="center", va="center", transform=every[0].transAxes)
    for axes, mistake in zip(every, mistakes, strict=False):
        axes.imshow(np.concatenate([*mistake.frames], axis=1))
        truth = f"{shortened(mistake.truth)} ({mistake.probability_of_truth:.2f})"
        predicted = f"{shortened(mistake.predicted)} ({mistake.probability:.2f})"
        axes.set_title(f"{_name(mistake.path)}: {truth}, predicted {predicted}", fontsize=9, parse_math=False)
    save(figure, target)


def _name(path: str) -> str:
    """Return the end of a clip's path: in a folder for each class, files of several have the same name."""
    return "/".join(Path(path).parts[-2:])[-LONGEST:]
