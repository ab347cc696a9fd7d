"""Scores of a recognizer: WAR, UAR and the recall of each class, all computed from one confusion matrix of counts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from peclip.errors import InputError, shown


@dataclass(frozen=True)
class Scores:
    """The result of an evaluation; rates are fractions from 0 to 1.

    Attributes:
        clips: number of clips evaluated, at least 1.
        war: weighted average recall, which is accuracy: correct clips over all clips.
        uar: unweighted average recall: the mean recall over the classes that occur.
        per_class_recall: recall by label, in class order; None for a class of which there was no clip.
        confusion: int64 (C, C), number of clips: rows are the truth, columns the predictions, both in class order.
            None if the scores were read from a file, which does not hold it.

    Raises:
        InputError: a number is out of range.
    """

    clips: int
    war: float
    uar: float
    per_class_recall: dict[str, float | None]
    confusion: np.ndarray | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.clips < 1:
            raise InputError(f"clips is {self.clips}, expected at least 1")
        recalls = {f"recall of {label}": recall for label, recall in self.per_class_recall.items()}
        for name, rate in {"war": self.war, "uar": self.uar, **recalls}.items():
            if rate is not None and not 0 <= rate <= 1:
                raise InputError(f"{name} is {shown(rate)}, expected 0 to 1")

    def as_json(self) -> dict[str, Any]:
        """Return the scores as files hold them, without the confusion matrix."""
        return {
            "clips": self.clips,
            "war": self.war,
            "uar": self.uar,
            "per_class_recall": dict(self.per_class_recall),
        }


def war(confusion: np.ndarray) -> float:
    """Return the weighted average recall (WAR): correct clips over all clips.

    Args:
        confusion: counts (C, C), with the truth in rows and the prediction in columns.

    Returns:
        A share from 0 to 1.

    Raises:
        InputError: the matrix holds no clip.
    """
    return float(np.trace(confusion) / _clips(confusion))


def uar(confusion: np.ndarray) -> float:
    """Return the unweighted average recall (UAR): the mean recall over the classes that occur.

    Args:
        confusion: counts (C, C), with the truth in rows and the prediction in columns.

    Returns:
        A share from 0 to 1.

    Raises:
        InputError: the matrix holds no clip.
    """
    _clips(confusion)
    return float(np.nanmean(recalls(confusion)))


def recalls(confusion: np.ndarray) -> np.ndarray:
    """Return the recall of each class: its correct clips over its clips.

    Args:
        confusion: counts (C, C), with the truth in rows and the prediction in columns.

    Returns:
        float64 (C,), shares from 0 to 1; NaN for a class that does not occur.
    """
    occurring = confusion.sum(axis=1)
    return np.divide(confusion.diagonal(), occurring, out=np.full(len(confusion), np.nan), where=occurring > 0)


def by_label(recalls: np.ndarray, labels: Sequence[str]) -> dict[str, float | None]:
    """Return recalls ``(C,)`` by label; None in place of NaN."""
    values = (None if np.isnan(recall) else float(recall) for recall in recalls)
    return dict(zip(labels, values, strict=True))


def scores(confusion: np.ndarray, labels: Sequence[str]) -> Scores:
    """Return every score of a ``(C, C)`` matrix of counts with truth in rows.

    Args:
        confusion: number of clips by true and predicted class.
        labels: the names of its C classes, in its order.

    Raises:
        InputError: the matrix holds no clip.
    """
    per_class_recall = by_label(recalls(confusion), labels)
    return Scores(_clips(confusion), war(confusion), uar(confusion), per_class_recall, confusion)


def _clips(confusion: np.ndarray) -> int:
    if not (clips := int(confusion.sum())):
        raise InputError(
            "no clip was evaluated: the split is empty or all its clips were skipped, so there is no score"
        )
    return clips
