"""AFEW and CAER: split folders that hold class folders."""

from collections.abc import Mapping
from pathlib import Path

from peclip.data.benchmarks.folders import clips_in
from peclip.data.benchmarks.layout import children, locate, row_of, to_label, to_manifest
from peclip.data.manifest import Manifest, Split
from peclip.labels import SEVEN


def afew(root: Path) -> Manifest:
    """Read AFEW 7.0: ``Train/Angry/000046280.avi``, or folders of frames in place of videos.

    The labels of ``Test`` are not public, so that ``Val`` is the split that everyone tests on, and here too.

    Args:
        root: folder of the release.

    Raises:
        InputError: a folder is missing, empty, or of an unknown emotion.
    """
    return _read(root, "AFEW", {"Train": "train", "Val": "test"})


def caer(root: Path) -> Manifest:
    """Read CAER: ``train/Anger/0001.avi``, and the like in ``validation`` and ``test``.

    Args:
        root: folder of the release.

    Raises:
        InputError: a folder is missing, empty, or of an unknown emotion.
    """
    return _read(root, "CAER", {"train": "train", "validation": "val", "test": "test"})


def _read(root: Path, benchmark: str, splits: Mapping[str, Split]) -> Manifest:
    """Read the class folders of each split; the folder of a split may be written in lower case."""
    first = next(iter(splits))
    base = locate(root, benchmark, first, first.lower(), first.capitalize()).parent
    rows = []
    for name, split in splits.items():
        for folder in children(locate(base, benchmark, name, name.lower(), name.capitalize())):
            if not folder.is_dir():
                continue
            label = to_label(folder.name, SEVEN, str(folder))
            for clip in clips_in(folder):
                rows.append(row_of(clip, base, label) | {"split": split})
    return to_manifest(rows, base)
