"""State which published results a benchmark compares with: the clips, folds and classes that other programs use."""

from collections.abc import Sequence
from typing import NamedTuple


class PublishedResults(NamedTuple):
    """Results that a benchmark's may be compared with.

    Attributes:
        classes: number of classes of published results.
        note: who uses the same clips, splits and folds, and who does not.
    """

    classes: int
    note: str


COMPARISONS = {
    "dfew": PublishedResults(
        7,
        "compare the mean over the five folds of the release with that of other papers, and fold 1 alone with the authors' "
        "PE-CLIP",
    ),
    "ferv39k": PublishedResults(
        7, "compare results on the split over all 22 scenes with other papers; those on one scene only with that scene"
    ),
    "mafw": PublishedResults(
        11, "compare the mean over the five folds of single labels, with 11 classes, with that of other papers"
    ),
    "afew": PublishedResults(7, "compare results on Val, as in other papers: the labels of Test are not public"),
    "caer": PublishedResults(7, "compare results on the split of the release"),
    "ravdess": PublishedResults(
        8,
        "compare the mean over the six folds (actors 1 to 4, 5 to 8, ...), which are those of MAE-DFER's lists, but not with "
        "papers that have other folds, or songs",
    ),
    "cremad": PublishedResults(
        6,
        "peclip prepare cremad makes five folds of its own (actors in turn), which compare with other runs of peclip only; "
        "the lists of the VideoMAE family (MAE-DFER, HiCMAE), which peclip prepare list --labels cremad reads, test other "
        "actors in each fold",
    ),
    "ucf101": PublishedResults(
        101, "compare the mean over the three official splits, the folds here, with that of other papers"
    ),
    "hmdb51": PublishedResults(
        51, "compare the mean over the three official splits, the folds here, with that of other papers"
    ),
}
"""Comparable results, by the name of the benchmark."""


def comparison_notes(benchmark: str | None, labels: Sequence[str]) -> list[str]:
    """Return sentences on the published results that compare with those of a benchmark.

    Args:
        benchmark: name of the benchmark; for None, or another source, there is no sentence.
        labels: the classes that occur.
    """
    comparison = COMPARISONS.get(benchmark or "")
    if comparison is None:
        return []
    notes = [f"comparable: {comparison.note}"]
    if len(labels) != comparison.classes:
        notes.append(
            f"comparable: with {len(labels)} classes, numbers do not compare with published ones, which are on "
            f"{comparison.classes}"
        )
    return notes
