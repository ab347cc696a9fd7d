"""Confidence intervals by the bootstrap over test clips, of one run alone and of two runs in pairs.

Clips are drawn with replacement from those of each test set, and the rates are recomputed. Only how often clips of a class
were recognized matters, so that whole test sets are drawn at once as counts, which is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

DRAWS = 10_000
"""Test sets drawn; with so many the ends of an interval settle to about a hundredth of its width."""

PIECE = 500
"""Test sets drawn at a time."""

LEVEL = 0.95
"""Probability of an interval."""

BOOTSTRAP_SEED = 0
"""Seed of the draws of every interval, so that a report repeats exactly."""

Interval = tuple[float, float]
"""The lower and the upper end."""


@dataclass(frozen=True)
class Bootstrap:
    """Settings with which intervals were computed.

    Attributes:
        draws: N, number of test sets drawn.
        level: probability of an interval.
        seed: seed of the random draws.
    """

    draws: int = DRAWS
    level: float = LEVEL
    seed: int = BOOTSTRAP_SEED


@dataclass(frozen=True)
class Estimate:
    """A rate, None if no clip of the class occurs, with its interval."""

    value: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of a rate over the folds where it is known, with the interval of the mean."""

    mean: float | None
    std: float | None
    interval: Interval | None


class Outcomes(NamedTuple):
    """Results of R runs on the n clips of one test set."""

    truth: np.ndarray
    """int64 ``(n,)``: the index of the true class of each clip."""
    hits: np.ndarray
    """bool ``(R, n)``: whether each run recognized the clip."""


class Rates(NamedTuple):
    """Rates as fractions, for each of N drawn test sets (or the one that there was, N = 1) and each of R runs."""

    war: np.ndarray
    """float64 ``(N, R)``."""
    uar: np.ndarray
    """float64 ``(N, R)``: over the classes that occur in the drawn test set."""
    recalls: np.ndarray
    """float64 ``(N, R, C)``; NaN for a class that does not occur."""


def observed(tests: Sequence[Outcomes], classes: int) -> Rates:
    """Return the rates of the test sets as they are: the mean over the sets.

    Args:
        tests: outcomes on each test set, such as the folds of a cross-validation.
        classes: C, number of classes.
    """
    mean = _Mean(1, len(tests[0].hits), classes)
    for test in tests:
        kinds, counts = _kinds(test)
        mean.add(slice(None), _rates(counts[np.newaxis], kinds, classes))
    return mean.rates(len(tests))


def resample(tests: Sequence[Outcomes], classes: int, draws: int = DRAWS, seed: int = BOOTSTRAP_SEED) -> Rates:
    """Resample the clips of each test set independently, and return the mean rates over the sets.

    A rate of several test sets is the mean over them; a class counts in those where it occurs.

    Args:
        tests: outcomes on each test set, such as the folds of a cross-validation.
        classes: C, number of classes.
        draws: N, number of test sets drawn.
        seed: seed of the random draws.
    """
    rng = np.random.default_rng(seed)
    mean = _Mean(draws, len(tests[0].hits), classes)
    for test in tests:
        kinds, counts = _kinds(test)
        for first in range(0, draws, PIECE):  # all draws of many classes at once would take gigabytes
            piece = slice(first, min(first + PIECE, draws))
            weights = rng.multinomial(len(test.truth), counts / counts.sum(), size=piece.stop - first)
            mean.add(piece, _rates(weights, kinds, classes))
    return mean.rates(len(tests))


def interval(values: np.ndarray) -> Interval | None:
    """Return the percentile interval of drawn values ``(N,)`` at :data:`LEVEL`, NaN ignored; None if there is no value."""
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def p_value(differences: np.ndarray) -> float:
    """Return the two-sided p of no difference, from drawn differences ``(N,)``.

    It is 2 (r + 1) / (N + 1), at most 1, where r draws are on the less likely side of zero (zero itself is on both), so that it is
    below 1 - level about when the interval of that level excludes zero. One draw is added to both counts, as is usual if a p is
    computed from draws (Davison and Hinkley, Bootstrap Methods and their Application, 1997, chapter 4; Phipson and Smyth, 2010,
    https://arxiv.org/abs/1603.05766): it is never 0, because N draws cannot show less than 2 / (N + 1).
    """
    differences = differences[~np.isnan(differences)]
    rarer = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (len(differences) + 1))


class _Mean:
    """Adds up the rates of test sets, draw by draw, in the memory of one test set.

    Args:
        draws: N, number of test sets drawn.
        runs: R, number of runs.
        classes: C, number of classes.
    """

    def __init__(self, draws: int, runs: int, classes: int) -> None:
        self._sums = Rates(*(np.zeros(shape) for shape in ((draws, runs), (draws, runs), (draws, runs, classes))))
        self._known = np.zeros((draws, runs, classes), dtype=np.int32)  # test sets in which a class occurs

    def add(self, piece: slice, rates: Rates) -> None:
        """Add the rates of a piece of the draws of a test set."""
        known = ~np.isnan(rates.recalls)
        self._known[piece] += known
        for total, values in zip(self._sums, (rates.war, rates.uar, np.where(known, rates.recalls, 0)), strict=True):
            total[piece] += values

    def rates(self, tests: int) -> Rates:
        """Return the means over so many test sets."""
        war, uar, recalls = self._sums
        np.divide(recalls, self._known, out=recalls, where=self._known > 0)
        recalls[self._known == 0] = np.nan
        return Rates(war / tests, uar / tests, recalls)


def _kinds(test: Outcomes) -> tuple[Outcomes, np.ndarray]:
    """Return the kinds of clips by class, and how many there are of each.

    Clips of one class that the same runs recognize are alike: the counts of the kinds describe a drawn test set.
    """
    kinds, counts = np.unique(np.concatenate([test.truth[np.newaxis], test.hits]), axis=1, return_counts=True)
    return Outcomes(kinds[0], kinds[1:].astype(bool)), counts


def _rates(weights: np.ndarray, kinds: Outcomes, classes: int) -> Rates:
    """Return the rates of N test sets from the number of clips ``(N, K)`` of each of K kinds, in the order of their classes."""
    occurring, starts = np.unique(kinds.truth, return_index=True)
    clips, right = np.zeros((len(weights), 1, classes)), np.zeros((len(weights), len(kinds.hits), classes))
    clips[:, 0, occurring] = np.add.reduceat(weights, starts, axis=1)
    for run, hit in enumerate(kinds.hits):
        right[:, run, occurring] = np.add.reduceat(weights * hit, starts, axis=1)
    clips = np.broadcast_to(clips, right.shape)
    recalls = np.divide(right, clips, out=np.full(right.shape, np.nan), where=clips > 0)
    return Rates(right.sum(axis=-1) / clips.sum(axis=-1), _nanmean(recalls, axis=-1), recalls)


def _nanmean(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean of values that are not NaN; NaN, without a warning, if there is none."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0).sum(axis=axis)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
