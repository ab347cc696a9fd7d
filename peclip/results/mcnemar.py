"""McNemar's exact test: are two models, tested on the same clips, equally often right?

Source: Q. McNemar, Note on the sampling error of the difference between correlated proportions or percentages, Psychometrika 12,
1947; the exact form of it is the sign test of the clips that only one of the two got right.
"""

from dataclasses import dataclass

import numpy as np

MEANING = (
    "McNemar's p is exact and about WAR: of the clips that only one of the two runs got right, it is the probability of a "
    "split between them at least as uneven as this one if each were as likely to be the one. A small p says that such a "
    "difference is hardly chance of these clips; a large one says that these clips do not show a difference, not that "
    "there is none."
)


@dataclass(frozen=True)
class McNemar:
    """The clips that only one of two runs recognized, and the exact two-sided p that both are equally often right.

    Attributes:
        first_only: clips that only the first run recognized.
        other_only: clips that only the other run recognized.
        p: probability of a split at least as uneven, if each of these clips went to either run with probability 1/2.
    """

    first_only: int
    other_only: int
    p: float


def mcnemar(first: np.ndarray, other: np.ndarray) -> McNemar:
    """Test two runs on the same clips.

    Args:
        first: bool ``(n,)``: whether the first run recognized each clip.
        other: the same of the other run.
    """
    first_only, other_only = int((first & ~other).sum()), int((other & ~first).sum())
    return McNemar(first_only, other_only, sign_p(first_only, other_only))


def sign_p(first: int, other: int) -> float:
    """Return the two-sided p of a split of n fair coins into ``first`` and ``other``, from the binomial distribution itself.

    Exact for any n, so that no approximation has to be right for small counts; its logarithms are summed.
    """
    n, rarer = first + other, min(first, other)
    if first == other:
        return 1.0
    steps = np.arange(1, rarer + 1)
    # Logarithms of the binomial coefficients n over 0, 1, ...
    logs = np.concatenate([[0.0], np.cumsum(np.log((n - steps + 1) / steps))])
    largest = logs.max()
    tail = largest + np.log(np.exp(logs - largest).sum()) - n * np.log(2)
    return float(min(1.0, 2 * np.exp(tail)))
