"""Say where ``peclip fit`` refuses a manifest unless the user sets an option."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from peclip.class_texts import class_texts
from peclip.data.manifest import Manifest
from peclip.data.manifest.table import OUTSIDE
from peclip.data.source import DEFAULT_VAL, split_source
from peclip.data.subjects import is_grouped
from peclip.errors import InputError, options_below


def refused_by_default(manifest: Manifest) -> Iterator[str]:
    """Yield why a training with the default options refuses the manifest, and which options it needs."""
    if manifest.reaches_outside(manifest.source):
        yield OUTSIDE
    folds: list[int | None] = list(manifest.folds) or [None]
    for message, where in _refusals(manifest, folds).items():
        some = f" in fold {', '.join(map(str, where))}" if len(where) < len(folds) else ""
        yield f"peclip fit with its default options refuses this manifest{some}: {message}"


def trained_labels(manifest: Manifest, folds: Sequence[int | None]) -> dict[int | None, set[str]]:
    """Return the labels of the training clips of each fold."""
    labels = manifest.table["label"].astype("category")
    return {fold: {*labels[manifest.roles(fold).eq("train")].unique()} for fold in folds}


def _refusals(manifest: Manifest, folds: Sequence[int | None]) -> dict[str, list[int | None]]:
    """Return the errors of a training, each with its folds."""
    refused: dict[str, list[int | None]] = defaultdict(list)
    # a class that no fold trains on is a finding of its own
    trained = trained_labels(manifest, folds)
    labels = [label for label in manifest.labels if any(label in some for some in trained.values())]
    apart = not is_grouped(manifest)
    for fold in folds:
        if apart and trained[fold].issuperset(labels):
            continue  # one clip of each class at least is not held out
        try:
            with options_below("data"):
                split_source(manifest, fold, DEFAULT_VAL, seed=0).train.check_labels(labels)
        except InputError as error:
            refused[str(error)].append(fold)
    try:
        with options_below("model.net"):
            class_texts(manifest.labels)
    except InputError as error:
        refused[str(error)] = [*folds]
    return refused
