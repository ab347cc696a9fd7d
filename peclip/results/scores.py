"""Scores of a recogniser: WAR, UAR and the recall of each class, all read off one confusion matrix of counts."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from peclip.errors import InputError


class Scores(NamedTuple):
    """The result of an evaluation; rates are fractions from 0 to 1."""

    clips: int
    """Number of clips evaluated."""
    war: float
    """Weighted average recall, which is accuracy: correct clips over all clips."""
    uar: float
    """Unweighted average recall: the mean recall over the classes that occur."""
    per_class_recall: dict[str, float | None]
    """Recall by label, in class order; None for a class of which there was no clip."""
    confusion: np.ndarray
    """int64 ``(C, C)``, number of clips: rows are the truth, columns the predictions, both in class order."""


def war(confusion: np.ndarray) -> float:
    """Return the weighted average recall, correct clips over all clips, of a ``(C, C)`` matrix with truth in rows.

    Raises:
        InputError: the matrix holds no clip.
    """
    return float(np.trace(confusion) / _clips(confusion))


def uar(confusion: np.ndarray) -> float:
    """Return the unweighted average recall, over the classes that occur, of a ``(C, C)`` matrix with truth in rows.

    Raises:
        InputError: the matrix holds no clip.
    """
    _clips(confusion)
    return float(np.nanmean(recalls(confusion)))


def recalls(confusion: np.ndarray) -> np.ndarray:
    """Return the recall of each class, float64 ``(C,)``; NaN for a class that does not occur."""
    occurring = confusion.sum(axis=1)
    return np.divide(confusion.diagonal(), occurring, out=np.full(len(confusion), np.nan), where=occurring > 0)


def scores(confusion: np.ndarray, labels: Sequence[str]) -> Scores:
    """Return every score of a ``(C, C)`` matrix of counts with truth in rows.

    Args:
        confusion: number of clips by true and predicted class.
        labels: the names of its C classes, in its order.

    Raises:
        InputError: the matrix holds no clip.
    """
    by_class = (None if np.isnan(recall) else float(recall) for recall in recalls(confusion))
    per_class_recall = dict(zip(labels, by_class, strict=True))
    return Scores(_clips(confusion), war(confusion), uar(confusion), per_class_recall, confusion)


def _clips(confusion: np.ndarray) -> int:
    if not (clips := int(confusion.sum())):
        raise InputError(
            "no clip was evaluated: the split is empty or all its clips were skipped, so there is no score"
        )
    return clips
