"""Releases whose folds are pairs of lists: brought together into one row a clip, and checked against each other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peclip.errors import InputError


@dataclass(frozen=True)
class FoldList:
    """One list of a release: what fold ``fold`` is tested or trained on.

    Attributes:
        path: the file.
        test: whether these clips are tested; otherwise they are trained on.
        clips: by the clip's number or name, its label and the line it stands in.
    """

    path: Path
    fold: int
    test: bool
    clips: dict[str, tuple[str, int]]


def merge_folds(lists: Sequence[FoldList], base: Path, find: Callable[[str], Path]) -> list[dict[str, Any]]:
    """Return one row a clip: its label, and the fold that tests it where one does.

    Args:
        lists: the lists of all folds that are there.
        base: folder to which paths are made relative.
        find: gives the path of a clip.

    Raises:
        InputError: a clip has two labels, is tested in two folds, or is trained and tested on in one.
    """
    rows: dict[str, dict[str, Any]] = {}
    for part in sorted(lists, key=lambda part: (not part.test, part.fold)):
        source = str(part.path.relative_to(base))
        for name, (label, line) in part.clips.items():
            row = rows.get(name)
            if row is None:
                path = str(find(name).relative_to(base))
                fold = part.fold if part.test else None
                rows[name] = {"path": path, "label": label, "fold": fold, "source": source, "line": line}
                continue
            here, there = f"{part.path} line {line}: clip {name}", f"{row['source']} line {row['line']}"
            if row["label"] != label:
                raise InputError(f"{here} is {label}, but {row['label']} in {there}; are lists of two releases mixed?")
            if part.test:
                raise InputError(f"{here} is tested in fold {part.fold} and in fold {row['fold']} ({there})")
            if row["fold"] == part.fold:
                raise InputError(f"{here} is trained on in fold {part.fold}, which also tests it ({there})")
    return list(rows.values())
