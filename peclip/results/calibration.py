"""Calibration: whether answers are right as often as their probability says (Guo et al., ICML 2017, section 2)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from peclip.results.figures import new_figure, save

BINS = 10
"""Bins of equal width of the probability of the predicted class."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Predictions by the probability of the predicted class.

    Attributes:
        count: clips of each bin, int64 (BINS,).
        confidence: mean probability of each bin, float64 (BINS,); 0 without clips.
        accuracy: share of right predictions of each bin, float64 (BINS,); 0 without clips.
    """

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error, from 0 to 1: mean of |accuracy - confidence| over the clips."""
        return float(self.count @ np.abs(self.accuracy - self.confidence)) / max(int(self.count.sum()), 1)


def calibration(probabilities: np.ndarray, truth: np.ndarray) -> Calibration:
    """Sort predictions into bins.

    Args:
        probabilities: (N, C), each row adding up to 1.
        truth: index of the true class, int64 (N,).
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    count = np.bincount(place, minlength=BINS)
    clips = np.maximum(count, 1)
    mean = (np.bincount(place, weights=weights, minlength=BINS) / clips for weights in (confidence, right))
    return Calibration(count, *mean)


def draw_calibration(target: Path, found: Calibration, title: str) -> None:
    """Draw the share of right predictions over their probability, and the number of clips of each bin."""
    figure = new_figure(5.5, 5.5)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    centres, is_filled = (np.arange(BINS) + 0.5) / BINS, found.count > 0
    axes.bar(centres[is_filled], found.accuracy[is_filled], 1 / BINS, color="#4a7fb5", edgecolor="white")
    axes.plot([0, 1], [0, 1], "--", color="black", linewidth=1, label="as often right as the probability says")
    axes.plot(found.confidence[is_filled], found.accuracy[is_filled], "o", color="black", markersize=4)
    axes.set(ylim=(0, 1), xlim=(0, 1), ylabel="share of right predictions")
    axes.set_title(f"{title}: calibration error {found.error:.1%}", parse_math=False)
    figure.legend(loc="outside lower center", frameon=False)
    below.bar(centres, found.count, 1 / BINS, color="#a9b0b7", edgecolor="white")
    below.set(xlabel="probability of the predicted class", ylabel="clips")
    save(figure, target)
