"""Say where ``peclip fit`` refuses a manifest unless the user sets an option."""

from collections import defaultdict
from collections.abc import Iterator

from peclip.data.manifest import Manifest
from peclip.data.manifest.table import OUTSIDE
from peclip.data.source import DEFAULT_VAL, split_source
from peclip.errors import InputError, options_below


def refused_by_default(manifest: Manifest) -> Iterator[str]:
    """Yield why a training with the default options refuses the manifest, and which options it needs."""
    if manifest.reaches_outside(manifest.source):
        yield OUTSIDE
    folds: list[int | None] = list(manifest.folds) or [None]
    refused: dict[str, list[int | None]] = defaultdict(list)
    for fold in folds:
        try:
            with options_below("data"):
                split_source(manifest, fold, DEFAULT_VAL, seed=0)
        except InputError as error:
            refused[str(error)].append(fold)
    for message, where in refused.items():
        some = f" in fold {', '.join(map(str, where))}" if len(where) < len(folds) else ""
        yield f"peclip fit with its default options refuses this manifest{some}: {message}"
