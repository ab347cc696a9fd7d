"""Releases whose folds are lists of clips: merge them into one row per clip, and check them against each other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peclip.data.manifest import Split
from peclip.errors import InputError, counted, shown

ORDER: tuple[Split, ...] = ("test", "val", "train")
"""Roles in the order in which their lists are merged: the rows begin with the clips that are tested."""

CLIPS = {"train": "training", "val": "validation", "test": "test"}

DONE = {"train": "trained on", "val": "validated on", "test": "tested"}

DOES = {"val": "validates on", "test": "tests"}

ManifestRow = dict[str, Any]
"""A row of the manifest."""

Uses = dict[str, dict[int, tuple[Split, str]]]
"""By clip, by fold: the role of the clip, and the list and line that state it."""


@dataclass(frozen=True)
class FoldList:
    """One list of a release: clips that have one role in a fold.

    Attributes:
        path: file of the list.
        fold: number of the fold.
        role: split of the fold that the clips belong to.
        clips: label and line of each clip, by its number or name.
    """

    path: Path
    fold: int
    role: Split
    clips: dict[str, tuple[str, int]]


def merge_folds(
    lists: Sequence[FoldList], base: Path, find: Callable[[str], Path]
) -> tuple[list[ManifestRow], list[str]]:
    """Return one row per clip, with its label and its role in every fold exactly as listed.

    Where each fold trains on all clips that it does not test, ``fold`` is the one that tests the clip, if there is one.
    Otherwise ``fold_1`` and so on hold its roles, empty in a fold that does not list it. A fold without a list of training
    clips trains on all clips that its other lists omit.

    Args:
        lists: the lists of all folds that exist.
        base: folder to which paths are made relative.
        find: function that returns the path of a clip.

    Returns:
        The rows, and sentences about clips that a fold does not use.

    Raises:
        InputError: a clip has two labels, is tested in two folds, has two roles in one, or is not below the base; or a fold has no
            list of test clips.
    """
    _check_tested(lists)
    rows: dict[str, ManifestRow] = {}
    uses: Uses = {}
    for one in sorted(lists, key=lambda one: (ORDER.index(one.role), one.fold)):
        source = str(one.path.relative_to(base))
        for name, (label, line) in one.clips.items():
            use = uses.setdefault(name, {})
            if name not in rows:
                path = find(name)
                if not path.is_relative_to(base):
                    raise InputError(f"{one.path} line {line}: {shown(name)} leads out of the folder of the data set")
                rows[name] = {"path": str(path.relative_to(base)), "label": label, "source": source, "line": line}
            _check_agrees(one, name, rows[name], use)
            use[one.fold] = one.role, f"{source} line {line}"
    return list(rows.values()), _add_roles(rows, uses, lists)


def _check_tested(lists: Sequence[FoldList]) -> None:
    """Check that every fold has a list of test clips.

    Raises:
        InputError: one has none.
    """
    tested = {one.fold for one in lists if one.role == "test"}
    for one in lists:
        if one.fold not in tested:
            raise InputError(
                f"{one.path} is the list of the {CLIPS[one.role]} clips of fold {one.fold}, whose list of test clips is missing"
            )


def _check_agrees(one: FoldList, name: str, row: ManifestRow, use: dict[int, tuple[Split, str]]) -> None:
    """Check a clip of a list against the lists before it.

    Args:
        one: the list.
        name: name of the clip.
        row: row of the clip, as merged from the lists before.
        use: roles of the clip in the lists before, by fold.

    Raises:
        InputError: they contradict each other.
    """
    label, line = one.clips[name]
    here = f"{one.path} line {line}: clip {name}"
    if row["label"] != label:
        there = f"{row['source']} line {row['line']}"
        raise InputError(f"{here} is {label}, but {row['label']} in {there}; are lists of two releases mixed?")
    if one.role == "test":
        for fold, (_, there) in use.items():
            raise InputError(f"{here} is tested in fold {one.fold} and in fold {fold} ({there})")
    if one.fold in use:
        role, there = use[one.fold]
        raise InputError(
            f"{here} is {DONE[one.role]} in fold {one.fold}, which also {DOES[role]} it ({there}): remove one of these lines, or a whole list "
            "of validation clips"
        )


def _add_roles(rows: dict[str, ManifestRow], uses: Uses, lists: Sequence[FoldList]) -> list[str]:
    """Add the roles of each clip to its row, and return sentences about clips that a fold does not use."""
    folds = sorted({one.fold for one in lists})
    trained = {one.fold for one in lists if one.role == "train"}
    roles = {
        name: {fold: use[fold][0] if fold in use else "" if fold in trained else "train" for fold in folds}
        for name, use in uses.items()
    }
    if all(role in ("train", "test") for by_fold in roles.values() for role in by_fold.values()):
        for name, row in rows.items():
            row["fold"] = next((fold for fold, role in roles[name].items() if role == "test"), None)
        return []
    for name, row in rows.items():
        row |= {f"fold_{fold}": role for fold, role in roles[name].items()}
    unused = {fold: sum(not by_fold[fold] for by_fold in roles.values()) for fold in folds}
    return [
        f"fold {fold} uses {len(rows) - number:,} of {counted(len(rows), 'clip')}: its lists omit the others, which only "
        "other folds use"
        for fold, number in unused.items()
        if number
    ]
