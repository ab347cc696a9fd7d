"""Soft labels: the targets of clips, and the check that they are of the classes of a run.

They are columns ``p_LABEL`` with a probability of every class, such as the share of annotators who chose it. A clip whose cells are all empty
keeps its label.
"""

from collections.abc import Sequence

import numpy as np

from peclip.data.manifest import Manifest
from peclip.data.manifest.soft import soft_columns
from peclip.errors import InputError, listed, shown


def soft_targets(clips: Manifest, labels: Sequence[str], rows: list[int] | slice = slice(None)) -> np.ndarray:
    """Return the targets of clips: their probabilities, or 1 for the label of a clip without any.

    Args:
        clips: manifest with the columns ``p_LABEL`` of these classes.
        labels: C classes in the order of the logits. Probabilities of other classes are omitted, and the rest is divided by its sum.
        rows: N of the clips; by default all.

    Returns:
        float32 (N, C), which sums to 1.
    """
    columns = {label: f"p_{label}" for label in labels}
    found = np.stack([clips.table[name].iloc[rows].to_numpy(np.float64) for name in columns.values()], axis=1)
    hard = clips.table["label"].iloc[rows].to_numpy()[:, None] == np.array(labels, dtype=object)
    found = np.where(np.isnan(found), hard, found)
    return (found / found.sum(axis=1, keepdims=True)).astype(np.float32)


def check_soft_labels(clips: Manifest, labels: Sequence[str], others: bool) -> None:
    """Check that clips have probabilities of the classes.

    Args:
        clips: training clips.
        labels: the classes.
        others: whether there may be probabilities of other classes, which are omitted.

    Raises:
        InputError: there are none, a class has none, one is of another class, or a clip has none of these classes.
    """
    columns = soft_columns(clips.table)
    is_file = clips.table["source"].eq(clips.source.name).all()  # rather than a benchmark, whose lists name the clips
    header = f"{clips.source} line 1" if is_file else str(clips.source)
    if not columns:
        raise InputError(
            f"{header}: has no soft labels, expected columns {', '.join(f'p_{label}' for label in labels[:3])}, ... with a "
            "probability of every class: add them, or omit soft_labels",
            "soft_labels",
        )
    if lacking := [label for label in labels if label not in columns]:
        raise InputError(
            f"{header}: column {shown(f'p_{lacking[0]}')} is missing, soft labels need every class", "soft_labels"
        )
    if not others and (unknown := [name for label, name in columns.items() if label not in labels]):
        raise InputError(
            f"{header}: column {shown(unknown[0])} is of no class, expected p_ and one of {listed(labels)}; to omit such "
            "columns, set other_labels to skip",
            "soft_labels",
            "other_labels",
        )
    own = clips.table[[columns[label] for label in labels]]
    if (none := own.sum(axis=1).eq(0) & own.notna().all(axis=1)).any():
        row = int(none.to_numpy().argmax())
        raise InputError(
            f"{clips.where(row)}: p_{labels[0]} to p_{labels[-1]} are 0: no class of the run has a probability"
        )


def without_soft_labels(clips: Manifest) -> tuple[str, ...]:
    """Return a sentence on clips that have no probabilities; none if all have some, or no clip does."""
    columns = [*soft_columns(clips.table).values()]
    none = int(clips.table[columns].isna().all(axis=1).sum()) if columns else 0
    return (f"{none:,} of {len(clips):,} training clips have no soft labels, and keep their label.",) if none else ()


def soft_remarks(clips: Manifest) -> tuple[str, ...]:
    """Return a sentence on the clips with probabilities, or on why these cannot be used; none without such columns."""
    if not (columns := [*soft_columns(clips.table).values()]):
        return ()
    try:
        check_soft_labels(clips, clips.labels, others=False)
    except InputError as error:
        return (f"soft labels cannot be used: {error}",)
    return (f"{int(clips.table[columns].notna().all(axis=1).sum()):,} of {len(clips):,} clips have soft labels",)
