"""Calibration: whether answers are right as often as their probability says (Guo et al., ICML 2017, https://arxiv.org/abs/1706.04599)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from peclip.results.figures import new_figure, save

BINS = 10
"""Bins of equal width of the probability of the predicted class."""

COLDEST, HOTTEST = 0.01, 100.0
"""Bounds of a temperature."""

_HALVINGS = 60  # halvings of the interval between them, for all digits of a float


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


@dataclass(frozen=True)
class Calibrated:
    """The calibration of an evaluation, without and with the temperature of the model.

    Attributes:
        temperature: temperature by which logits are divided before the softmax; 1 changes nothing.
        ece_before: expected calibration error without it, from 0 to 1.
        ece_after: expected calibration error with it.
        nll_before: mean negative log-likelihood of the true classes without it.
        nll_after: mean negative log-likelihood of the true classes with it.
    """

    temperature: float
    ece_before: float
    ece_after: float
    nll_before: float
    nll_after: float

    def __str__(self) -> str:
        """Return a sentence for people."""
        if self.temperature == 1:
            return f"Calibration error (ECE): {self.ece_before:.2%}, without a temperature"
        change = f"{self.ece_before:.2%} before, {self.ece_after:.2%} after"
        return f"Calibration error (ECE): {change} dividing logits by the temperature {self.temperature:.3g}"


def calibrated(logits: np.ndarray, truth: np.ndarray, temperature: float) -> Calibrated:
    """Measure the calibration of logits (N, C) with true classes (N,), without a temperature and with it."""
    before, after = (_log_softmax(logits.astype(np.float64) / each) for each in (1.0, temperature))
    ece = [calibration(np.exp(each), truth).error for each in (before, after)]
    nll = [float(-each[np.arange(len(truth)), truth].mean()) for each in (before, after)]
    return Calibrated(temperature, *ece, *nll)


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """Return the temperature that minimises the negative log-likelihood of the true classes (section 4.2).

    Where the largest logit of every clip is that of its true class, the likelihood rises until all probabilities are 0 or 1,
    which no number of clips proves: then the temperature is 1, as it is without clips.

    Args:
        logits: (N, C); the result depends on the order of the clips in the last digits.
        truth: index of the true class, int64 (N,).

    Returns:
        The temperature, :data:`COLDEST` to :data:`HOTTEST`.
    """
    if len(truth) == 0:
        return 1.0
    scaled, rows = logits.astype(np.float64), np.arange(len(truth))
    if (scaled[rows, truth] >= scaled.max(axis=1)).all():
        return 1.0

    def is_too_hot(inverse: float) -> bool:
        """Return whether the likelihood, which is concave in the inverse, rises with it."""
        shares = np.exp(_log_softmax(scaled * inverse))
        return bool(((shares * scaled).sum(axis=1) - scaled[rows, truth]).mean() < 0)

    low, high = np.log(1 / HOTTEST), np.log(1 / COLDEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_too_hot(float(np.exp(middle))) else (low, middle)
    return round(float(np.exp(-(low + high) / 2)), 6)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


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
