"""Keep people apart: choose validation clips that show nobody from the other clips, and find people on two sides."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from peclip.data.manifest import Manifest
from peclip.errors import InputError, shown


def has_subjects(clips: Manifest) -> bool:
    """Return whether the clips say whom they show."""
    return bool(clips.table["subject"].ne("").any())


def is_grouped(clips: Manifest) -> bool:
    """Return whether some clips have to validate together: those of a subject, or the pieces of a video."""
    return has_subjects(clips) or bool(clips.table["path"].duplicated().any())


def share_of_subjects(clips: Manifest, share: float, seed: int) -> "pd.Series[bool]":
    """Choose subjects with about a share of the clips of every class: all clips of a subject, or none.

    Subjects come in random order, and each is chosen who brings the classes closer to the share. A class whose clips show
    two subjects or more keeps at least one on either side, if the other classes allow it. A clip without a subject
    counts as one of its own, together with the other pieces of its video that have none.

    Returns:
        True for the chosen rows.

    Raises:
        InputError: no subject can be chosen without leaving a class without clips to train on.
    """
    subjects = _subjects(clips)
    counts = _Counts(subjects, clips.table["label"].to_numpy())
    rng = np.random.default_rng((seed, len(clips)))
    for subject in rng.permutation(counts.number):
        if counts.held.sum() >= share * len(clips):
            break
        if counts.gain(subject, share) > 0:
            counts.hold(subject)
    for label in np.flatnonzero(counts.held == 0).tolist():
        able = [subject for subject in rng.permutation(counts.showing(label)) if counts.can_hold(subject)]
        if able and not counts.held[label]:
            counts.hold(max(able, key=lambda subject: counts.gain(subject, share)))
    if not counts.chosen.any():
        what, remedy = ("subject", ", or remove the column subject") if has_subjects(clips) else ("video", "")
        only = str(clips.table["path" if what == "video" else "subject"].iat[0])
        some = f"the only {what} is {shown(only)}" if counts.number == 1 else "each is the only one of some class"
        raise InputError(
            f"{clips.source}: val is {share}, but no {what} can be held out for validation: {some}; add a split val, or "
            f"set val to 0 or test{remedy}",
            "val",
        )
    return pd.Series(counts.chosen[subjects]).astype(bool)


def on_several_sides(clips: Manifest, sides: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return the subjects on two sides or more, each with its sides and their first row."""
    table = pd.DataFrame({"subject": clips.table["subject"].astype("str"), "side": sides, "row": range(len(clips))})
    first = table[table["subject"].ne("")].drop_duplicates(["subject", "side"])
    both = first[first.duplicated("subject", keep=False)]
    return {
        str(name): dict(zip(rows["side"], rows["row"], strict=True))
        for name, rows in both.groupby("subject", sort=False)
    }


def with_videos(manifest: Manifest) -> "pd.Series[str]":
    """Return the subjects for a manifest of the same clips in other files, where each piece of a video has a path of its own.

    The training clips without a subject get the name of their video as their subject if it has several of them, so that
    they are kept together as :func:`share_of_subjects` keeps them. A video with pieces that some fold puts on two sides gets
    none: with a subject, training would refuse it.
    """
    subject = manifest.table["subject"].astype("str")
    if not manifest.table["path"].duplicated().any():
        return subject
    divisions: list[int | None] = [*manifest.folds] or [None]
    if manifest.folds and manifest.table["split"].ne("").any():
        divisions.append(None)
    roles = [manifest.roles(fold) for fold in divisions]
    trained = np.logical_or.reduce([role.eq("train") for role in roles]) & subject.eq("")
    path = manifest.table["path"][trained]
    named = path.duplicated(keep=False)
    for role in roles:
        sides = pd.DataFrame({"path": path, "side": role[trained]}).drop_duplicates()
        sides = sides[sides["side"].ne("")]
        named &= ~path.isin(sides["path"][sides["path"].duplicated()])
    return subject.where(~named.reindex(subject.index, fill_value=False), _names(manifest))


def _subjects(clips: Manifest) -> NDArray[np.intp]:
    """Return the number of each row's subject; rows without one have that of their video."""
    # By the first clip of each, so that naming the videos, as with_videos does, changes no choice.
    return pd.factorize(_names(clips))[0]


def _names(clips: Manifest) -> "pd.Series[str]":
    """Return the subject of each row; rows without one are named after their video, as nobody names a person."""
    subject = clips.table["subject"].astype("str")
    return subject.where(subject.ne(""), "video " + clips.table["path"])


class _Counts:
    """Count the clips of each class: of a subject, of those who are held out, and of all.

    Args:
        subjects: number of each row's subject.
        labels: label of each row.
    """

    def __init__(self, subjects: NDArray[np.intp], labels: NDArray[np.object_]) -> None:
        classes, names = pd.factorize(labels)
        self.number = int(subjects.max()) + 1
        self.total = np.bincount(classes, minlength=len(names))
        self.held = np.zeros(len(names), dtype=np.int64)
        self.chosen = np.zeros(self.number, dtype=bool)
        pairs, self._count = np.unique(subjects * len(names) + classes, return_counts=True)
        self._subject, self._class = pairs // len(names), pairs % len(names)
        self._by_class = np.argsort(self._class, kind="stable")
        self._first_of_class = np.searchsorted(self._class[self._by_class], np.arange(len(names) + 1))
        self._first = np.searchsorted(self._subject, np.arange(self.number + 1))

    def showing(self, label: int) -> NDArray[np.intp]:
        """Return the subjects who show a class."""
        return self._subject[self._by_class[self._first_of_class[label] : self._first_of_class[label + 1]]]

    def can_hold(self, subject: int) -> bool:
        """Return whether every class has clips to train on without a subject."""
        classes, count = self._own(subject)
        return bool((self.held[classes] + count < self.total[classes]).all())

    def gain(self, subject: int, share: float) -> float:
        """Return how much closer the classes come to a share with a subject; below 0 if one would be left empty."""
        if not self.can_hold(subject):
            return -np.inf
        classes, count = self._own(subject)
        total = self.total[classes]
        missing = share * total - self.held[classes]
        return float(((missing**2 - (missing - count) ** 2) / total).sum())

    def hold(self, subject: int) -> None:
        """Hold a subject out."""
        classes, count = self._own(subject)
        self.held[classes] += count
        self.chosen[subject] = True

    def _own(self, subject: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows = slice(self._first[subject], self._first[subject + 1])
        return self._class[rows], self._count[rows]
