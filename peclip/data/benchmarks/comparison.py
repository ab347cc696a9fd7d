"""Say with whose numbers those of a benchmark may be compared: which clips, folds and classes other programs use."""

from collections.abc import Sequence
from typing import NamedTuple


class Comparison(NamedTuple):
    """Results that a benchmark's may be compared with.

    Attributes:
        classes: number of classes of published results.
        note: who uses the same clips, splits and folds, and who does not.
    """

    classes: int
    note: str


COMPARISONS = {
    "dfew": Comparison(
        7,
        "the five folds are those of the release: compare the mean over them with that of other papers, but the authors' "
        "PE-CLIP with fold 1 alone",
    ),
    "ferv39k": Comparison(
        7,
        "the split over all 22 scenes is that of the release and of other papers; one scene compares with itself alone",
    ),
    "mafw": Comparison(
        11,
        "the five folds of single labels are those of the release: compare the mean over them with papers that report 11 "
        "classes",
    ),
    "afew": Comparison(7, "tested on Val, as in other papers: the labels of Test are not public"),
    "caer": Comparison(7, "the split is that of the release"),
    "ravdess": Comparison(
        8,
        "the six folds (actors 1 to 4, 5 to 8, ...) are those of MAE-DFER's lists; papers with other folds, or with songs, "
        "do not compare",
    ),
    "cremad": Comparison(
        6,
        "the five folds are peclip's own (actors in turn): compare with other runs of peclip only. The lists of the VideoMAE "
        "family (MAE-DFER, HiCMAE) test other actors in each fold; peclip prepare list --labels cremad reads them",
    ),
}
"""By the name of the benchmark."""


def comparison_notes(benchmark: str | None, labels: Sequence[str]) -> list[str]:
    """Return sentences on whose numbers may be compared.

    Args:
        benchmark: its name; None or another source has no sentence.
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
