"""Read clips from a manifest or the folder of a benchmark, and choose which of them validate."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from peclip.data.benchmarks import READERS, WITH_VOTES, read_benchmark
from peclip.data.manifest import Manifest
from peclip.errors import InputError, listed, shown

if TYPE_CHECKING:
    import pandas as pd

Validation = float | Literal["test"]

_SHOTS = 104  # the last word of a random stream's key; augment.py and dataset.py have the others

DEFAULT_VAL = 0.1
"""Share of the training clips that validates unless the user sets another."""


@dataclass(frozen=True)
class Splits:
    """The clips of a run by their purpose; all but the first may be empty."""

    train: Manifest
    val: Manifest
    test: Manifest
    remarks: tuple[str, ...] = ()
    """Sentences on options that the training clips could not fulfil, as with fewer than K shots."""

    @property
    def notes(self) -> list[str]:
        """Sentences on what training lacks, and on what validation cannot measure."""
        unseen = [label for label in self.train.labels if label not in self.val.labels]
        return [*self.remarks, *([f"No validation clip shows {listed(unseen)}."] if len(self.val) and unseen else [])]

    def with_shots(self, shots: int, seed: int) -> "Splits":
        """Return the splits with so many training clips of every class, drawn by the seed; the other clips stay."""
        train, remarks = draw_shots(self.train, shots, seed)
        return replace(self, train=train, remarks=remarks)


def read_source(
    manifest: str | None,
    root: str | None,
    benchmark: str | None,
    options: dict[str, str] | None,
    outside: bool,
    soft_labels: bool = False,
) -> Manifest:
    """Read the one source that the options name.

    Args:
        manifest: csv file of a manifest.
        root: folder of a benchmark.
        benchmark: name of the benchmark.
        options: options of the benchmark's reader.
        outside: whether clips of a manifest may lie outside its folder.
        soft_labels: whether the reader of a benchmark has to read the votes of its annotators.

    Raises:
        InputError: not exactly one source is named, or it cannot be read.
    """
    if manifest and (root or benchmark):
        raise InputError("manifest and root are both given: choose one, and set the other to None", "manifest", "root")
    if manifest:
        return Manifest.read(manifest, labels_required=False, allow_outside=outside)
    if not root and benchmark:
        raise InputError(f"no data: set root DIR, the folder of {benchmark}", "root")
    if not root:
        raise InputError("no data: set manifest FILE, or root DIR with benchmark", "manifest", "root", "benchmark")
    name = benchmark or "folders"
    if soft_labels and name in READERS and name not in WITH_VOTES:
        raise InputError(
            f"{name} has no votes of annotators: soft labels are those of {' and '.join(WITH_VOTES)}, or of a manifest with columns "
            "p_LABEL",
            "soft_labels",
        )
    return read_benchmark(name, root, **(options or {}) | ({"votes": "true"} if soft_labels else {}))


def split_source(source: Manifest, fold: int | None, val: Validation, seed: int) -> Splits:
    """Divide a source into training, validation and test clips.

    Args:
        source: all clips.
        fold: the fold to test on, for sources with folds.
        val: the share of every class of the training clips that validates, if the source has no validation split
            of its own, with all clips of a subject, or all pieces of a video that have no subject, or none: with few of
            them the share may be far from this; ``test`` validates on the test clips, as the authors' program does.
        seed: decides which training clips validate.

    Raises:
        InputError: the share is not in [0, 1), ``test`` is asked of a source without test clips, or no subject or video can
            validate without leaving a class without training clips, for example if all clips are pieces of one video.
    """
    from peclip.data.subjects import is_grouped, share_of_subjects

    train, own, test = source.splits(fold)
    if val == "test":
        if not len(test):
            raise InputError(f"val is test, but {source.source} has no test clips: set a share such as 0.1", "val")
        return Splits(train, test, test)
    if isinstance(val, str) or not 0 <= val < 1:
        raise InputError(f"val is {val}, expected a share of the training clips from 0 to below 1, or test", "val")
    if len(own) or not val:
        return Splits(train, own, test)
    choose = share_of_subjects if is_grouped(train) else stratified_share
    held_out = choose(train, val, seed)
    return Splits(train.select(~held_out), train.select(held_out), test)


def check_subjects(source: Manifest, fold: int | None, val: Validation) -> None:
    """Check that no subject is on two sides of a training: in its training, validation and test clips.

    Args:
        source: all clips, with or without subjects.
        fold: fold to test on, as in :func:`split_source`.
        val: share or split that validates, as there; with ``test``, clips of the split val are not used.

    Raises:
        InputError: one is; the message names a clip on either side.
    """
    from peclip.data.subjects import on_several_sides

    role = source.roles(fold)
    used = role.ne("") & (role.ne("val") | (val != "test"))
    clips, sides = source.select(used), role[used]
    for subject, rows in on_several_sides(clips, list(sides)).items():
        (first, row), (second, other) = list(rows.items())[:2]
        raise InputError(
            f"{clips.where(row)}: subject {shown(subject)} is in {first} here and in {second} in {clips.where(other)}: move "
            "all clips of a subject to one side (peclip check lists them), or remove the column subject"
        )


def stratified_share(clips: Manifest, share: float, seed: int) -> "pd.Series[bool]":
    """Choose a share of the clips of every class, at least one if a class has two or more.

    Returns:
        True for the chosen rows.
    """
    import pandas as pd

    rng = np.random.default_rng((seed, len(clips)))
    chosen = pd.Series(False, index=range(len(clips)))
    for label in clips.labels:
        rows = np.flatnonzero(clips.table["label"] == label)
        count = min(max(round(share * len(rows)), 1), len(rows) - 1)
        chosen.iloc[rng.permutation(rows)[:count]] = True
    return chosen


def draw_shots(clips: Manifest, shots: int, seed: int) -> tuple[Manifest, tuple[str, ...]]:
    """Draw K clips of every class, for few-shot training (CoOp, https://arxiv.org/abs/2109.01134, section 4.1).

    The clips of a smaller K are among those of a larger one.

    Args:
        clips: training clips.
        shots: K, at least 1.
        seed: decides which clips are drawn.

    Returns:
        The clips in the order in which they came, and a sentence about the classes that have fewer than K, which keep all they have.
    """
    rng = np.random.default_rng((seed, len(clips), _SHOTS))
    chosen = clips.table["label"].eq("")  # they stay, so that training refuses them
    few = []
    for label in clips.labels:
        rows = np.flatnonzero(clips.table["label"] == label)
        chosen.iloc[rng.permutation(rows)[:shots]] = True
        few += [f"{label} {len(rows)}"] if len(rows) < shots else []
    notes = (f"Fewer than {shots} training clips, of which all are used: {', '.join(few)}.",) if few else ()
    return clips.select(chosen), notes
