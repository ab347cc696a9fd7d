"""Numbers that the authors and users of the benchmarks have published, for `check` to compare with."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from peclip.data.benchmarks.mafw import LABELS as MAFW_LABELS
from peclip.labels import SEVEN


@dataclass(frozen=True)
class Published:
    """Published counts of a benchmark; those that nobody reports are absent.

    Attributes:
        clips: clips in all, without those that the reader skips.
        labels: number of classes.
        splits: clips of each split.
        folds: numbers of training and test clips of each fold.
        classes: number of clips of each class, by split (of fold 1 if there are folds) or for ``all``.
        short: number of clips with fewer than 16 frames, by the same.
        note: explanation for a user who sees another count.
    """

    clips: int | None = None
    labels: int | None = None
    splits: Mapping[str, int] = field(default_factory=dict)
    folds: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    classes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    short: Mapping[str, int] = field(default_factory=dict)
    note: str = ""


def _seven(*counts: int) -> dict[str, int]:
    """Return counts by label from those in the order happiness, sadness, neutral, anger, surprise, disgust, fear."""
    return dict(zip(SEVEN, counts, strict=True))


def _alphabetical(*counts: int) -> dict[str, int]:
    return dict(zip(("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"), counts, strict=True))


PUBLISHED: dict[str, Published] = {
    "dfew": Published(
        clips=11_697,
        labels=7,
        folds={1: (9356, 2341), 2: (9356, 2341), 3: (9357, 2340), 4: (9358, 2339), 5: (9361, 2336)},
        classes={
            "train": _seven(1956, 1515, 2135, 1738, 1175, 116, 721),
            "test": _seven(489, 379, 534, 435, 294, 29, 181),
        },
        short={"test": 3},
        note="12,059 clips have a single label; 362 of them show no face",
    ),
    "ferv39k": Published(
        clips=38_935,
        labels=7,
        splits={"train": 31_088, "test": 7_847},
        classes={
            "train": _seven(5854, 5523, 7790, 5906, 2502, 1833, 1680),
            "test": _seven(1473, 1393, 1958, 1487, 638, 467, 431),
        },
        short={"test": 813},
    ),
    "mafw": Published(
        clips=9_172,
        labels=11,
        folds={1: (7333, 1839), 2: (7335, 1837), 3: (7339, 1833), 4: (7340, 1832), 5: (7341, 1831)},
        classes={
            "train": dict(
                zip(MAFW_LABELS, (1112, 511, 500, 993, 910, 1176, 857, 188, 732, 209, 145), strict=True),
            ),
        },
        note="9,172 of 10,045 clips have a single label",
    ),
    "afew": Published(
        clips=1_156,
        labels=7,
        splits={"train": 773, "test": 383},
        classes={
            "train": _alphabetical(133, 74, 81, 150, 144, 117, 74),
            "test": _alphabetical(64, 40, 46, 63, 63, 61, 46),
        },
        note="the test split here is Val; some copies have 381 clips in it",
    ),
    "caer": Published(clips=13_201, labels=7, note="split about 7:1:2"),
    "ravdess": Published(
        clips=1_440,
        labels=8,
        folds=dict.fromkeys(range(1, 7), (1200, 240)),
        classes={"all": {"neutral": 96} | dict.fromkeys(("calm", *(name for name in SEVEN if name != "neutral")), 192)},
    ),
    "cremad": Published(clips=7_438, labels=6, note="7,442 clips less four broken ones"),
    "ucf101": Published(clips=13_320, labels=101, folds={1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}),
    "hmdb51": Published(
        clips=6_766, labels=51, folds=dict.fromkeys((1, 2, 3), (3570, 1530)), note="copies differ by a few clips"
    ),
}
"""The published counts by benchmark."""
