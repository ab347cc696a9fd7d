"""Releases whose folds are pairs of lists: merge them into one row per clip, and check them against each other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peclip.errors import InputError, shown


@dataclass(frozen=True)
class FoldList:
    """One list of a release: what a fold is tested or trained on.

    Attributes:
        path: the file.
        fold: its number.
        test: whether these clips are tested; otherwise they are trained on.
        clips: by the clip's number or name, its label and its line.
    """

    path: Path
    fold: int
    test: bool
    clips: dict[str, tuple[str, int]]


def merge_folds(lists: Sequence[FoldList], base: Path, find: Callable[[str], Path]) -> list[dict[str, Any]]:
    """Return one row a clip: its label, and the fold that tests it where one does.

    Args:
        lists: the lists of all folds that exist.
        base: folder to which paths are made relative.
        find: returns the path of a clip.

    Raises:
        InputError: a clip has two labels, is tested in two folds, is trained and tested on in one, or is not below the base; or a fold
            has no list of test clips.
    """
    tested = {one.fold for one in lists if one.test}
    for one in lists:
        if one.fold not in tested:
            raise InputError(
                f"{one.path} is the list of the training clips of fold {one.fold}, whose list of test clips is missing"
            )
    rows: dict[str, dict[str, Any]] = {}
    for one in sorted(lists, key=lambda one: (not one.test, one.fold)):
        source = str(one.path.relative_to(base))
        for name, (label, line) in one.clips.items():
            row = rows.get(name)
            if row is None:
                path = find(name)
                if not path.is_relative_to(base):
                    raise InputError(f"{one.path} line {line}: {shown(name)} leads out of the folder of the data set")
                fold = one.fold if one.test else None
                rows[name] = {
                    "path": str(path.relative_to(base)),
                    "label": label,
                    "fold": fold,
                    "source": source,
                    "line": line,
                }
                continue
            here, there = f"{one.path} line {line}: clip {name}", f"{row['source']} line {row['line']}"
            if row["label"] != label:
                raise InputError(f"{here} is {label}, but {row['label']} in {there}; are lists of two releases mixed?")
            if one.test:
                raise InputError(f"{here} is tested in fold {one.fold} and in fold {row['fold']} ({there})")
            if row["fold"] == one.fold:
                raise InputError(f"{here} is trained on in fold {one.fold}, which also tests it ({there})")
    return list(rows.values())
