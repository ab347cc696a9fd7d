"""Make a manifest of lists: their clips found, their labels named, and training and test lists joined."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from peclip.data.benchmarks.actors import actor_of
from peclip.data.lists.location import ClipFinder, find_clips
from peclip.data.lists.orders import name_labels, read_order
from peclip.data.lists.reading import ClipList, fold_of, read_list, role_of
from peclip.data.manifest import Manifest, Split
from peclip.errors import InputError, counted, listed, short

WORDS: dict[Split | None, str] = {"train": "training", "val": "validation", "test": "test", None: "training"}

ManifestRow = dict[str, Any]
"""A row of the manifest."""


@dataclass(frozen=True)
class _Resolved:
    """A list with the clips that it names.

    Attributes:
        source: the list.
        role: the split for which it is; None if nothing says so.
        entries: rows of the manifest by path.
    """

    source: ClipList
    role: Split | None
    entries: dict[str, ManifestRow]


def prepare_list(
    files: Sequence[Path | str],
    root: Path | str,
    labels: str | None = None,
    test: Sequence[Path | str] = (),
    val: Sequence[Path | str] = (),
    first_label: int | None = None,
    drop: int | None = None,
) -> Manifest:
    """Read lists as one manifest.

    With ``test`` or ``val``, ``files`` are for training. Without, the names of several files say what they are for, by words
    such as train, val and test. If some lists train on the test clips of others, they are the folds of
    a cross-validation.

    Args:
        files: the lists.
        root: the folder below which the clips are.
        labels: the names of numbered labels, see :func:`peclip.data.lists.orders.read_order`.
        test: lists of test clips.
        val: lists of validation clips.
        first_label: the number of the first name, if the lists do not show it.
        drop: number of folders to drop, see :func:`peclip.data.lists.location.find_clips`.

    Returns:
        The manifest, whose notes say what was read in which way.

    Raises:
        InputError: a list cannot be read or its clips cannot be found; lists contradict each other.
    """
    if first_label not in (None, 0, 1):
        raise InputError(f"first_label is {first_label}, expected 0 or 1", "first_label")
    if drop is not None and drop < 0:
        raise InputError(f"drop is {drop}, expected at least 0", "drop")
    root = Path(root).absolute()
    given: list[tuple[Path, Split | None]] = [
        *((Path(file), "train" if test or val else None) for file in files),
        *((Path(file), "val") for file in val),
        *((Path(file), "test") for file in test),
    ]
    lists = [read_list(path) for path, _ in given]
    naming = name_labels(lists, read_order(labels) if labels is not None else None, first_label)
    finder, resolved = ClipFinder(), []
    notes: list[str] = []
    where: dict[str, None] = {}  # once for lists of the same folder
    for one, (path, role), names in zip(lists, given, naming.labels, strict=True):
        role = role or role_of(path.stem, path.absolute().parent.name)
        found = find_clips(one, root, drop, finder)
        resolved.append(_Resolved(one, role, _entries(one, found.paths, names, root)))
        notes.append(f"{path}: {counted(len(one.rows), f'{WORDS[role]} clip')}; {one.form}{_unread(one)}")
        where[found.note] = None
        if found.missing:
            first = one.where(found.missing[0])
            notes.append(f"{path}: {len(found.missing)} of these clips are missing, the first is that of {first}")
    rows, how = _joined(resolved)
    notes += [*where, *filter(None, (how, naming.note))]
    rows = [{**row, "subject": actor_of((labels or "").strip().lower(), Path(row["path"])) or ""} for row in rows]
    return Manifest(pd.DataFrame(rows, dtype=object), source=lists[0].path, root=root, notes=notes)


def _unread(one: ClipList) -> str:
    names = one.form.unread
    return f"; not read: {listed(map(repr, names))}" if names else ""


def _entries(one: ClipList, paths: Sequence[Path], labels: Sequence[str], root: Path) -> dict[str, ManifestRow]:
    """Return the rows of the manifest.

    Raises:
        InputError: a clip occurs twice.
    """
    entries: dict[str, ManifestRow] = {}
    for row, path, label in zip(one.rows, paths, labels, strict=True):
        name = str(path.relative_to(root))
        if name in entries:
            raise InputError(f"{one.where(row)}: duplicate clip {short(name)}, first in line {entries[name]['line']}")
        entries[name] = {"path": name, "label": label, "source": one.path.name, "line": row.line}
    return entries


def _joined(lists: Sequence[_Resolved]) -> tuple[list[ManifestRow], str]:
    """Return the rows of all lists with their splits or folds, and a note about the folds.

    Raises:
        InputError: it is open what a list is for, or a clip is in two lists that exclude each other.
    """
    if len(lists) > 1:
        for one in lists:
            if one.role is None:
                raise InputError(
                    f"{one.source.path}: neither this name nor that of its folder says whether these clips are for training "
                    "or for testing: name the lists of test clips with test",
                    "test",
                )
    train = [one for one in lists if one.role == "train"]
    test = [one for one in lists if one.role == "test"]
    trained = {name for one in train for name in one.entries}
    tested = {name for one in test for name in one.entries}
    if trained & tested and len(train) == len(test) > 1 and len(lists) == 2 * len(test):
        return _folds(train, test)
    rows: dict[str, ManifestRow] = {}
    for one in lists:
        for name, entry in one.entries.items():
            if name in rows:
                raise InputError(
                    f"{_where(one, name)}: clip {short(name)} is also in {rows[name]['source']} line {rows[name]['line']}"
                )
            rows[name] = {**entry, "split": one.role or ""}
    return list(rows.values()), ""


def _folds(train: Sequence[_Resolved], test: Sequence[_Resolved]) -> tuple[list[ManifestRow], str]:
    """Return a row for each clip, with the fold that tests it.

    Raises:
        InputError: a clip is tested in two folds or has two labels, or a fold does not train on all clips that it does not test.
    """
    pairs = _paired(train, test)
    rows: dict[str, ManifestRow] = {}
    for number, (_, one) in pairs.items():
        for name, entry in one.entries.items():
            if name in rows:
                raise InputError(f"{_where(one, name)}: clip {short(name)} is also tested by {rows[name]['source']}")
            rows[name] = {**entry, "fold": number}
    for one, _ in pairs.values():
        for name, entry in one.entries.items():
            rows.setdefault(name, entry)
            if rows[name]["label"] != entry["label"]:
                there = f"{rows[name]['source']} line {rows[name]['line']}"
                raise InputError(
                    f"{_where(one, name)}: clip {short(name)} is {entry['label']}, but {rows[name]['label']} in {there}"
                )
    for number, (one, tests) in pairs.items():
        for name in rows:
            if (name in one.entries) == (name in tests.entries):
                does = "both trains on and tests" if name in one.entries else "neither trains on nor tests"
                raise InputError(
                    f"{one.source.path} with {tests.source.path} {does} {short(name)}: these are not the folds of one "
                    f"cross-validation, or not fold {number}; make a manifest of each pair"
                )
    shown = ", ".join(f"fold {number} {tests.source.path.name}" for number, (_, tests) in pairs.items())
    return list(rows.values()), f"folds by the lists of test clips: {shown}"


def _paired(train: Sequence[_Resolved], test: Sequence[_Resolved]) -> dict[int, tuple[_Resolved, _Resolved]]:
    """Return the lists of each fold: by the numbers in the names of files or their folders, else in the order given."""
    by_number = [{_fold(one): one for one in side} for side in (train, test)]
    if None in by_number[0] or {*by_number[0]} != {*by_number[1]} or len(by_number[0]) < len(train):
        return dict(enumerate(zip(train, test, strict=True), start=1))
    return {
        number: (by_number[0][number], by_number[1][number])
        for number in sorted(n for n in by_number[0] if n is not None)
    }


def _fold(one: _Resolved) -> int | None:
    return fold_of(one.source.path.stem, one.source.path.absolute().parent.name)


def _where(one: _Resolved, name: str) -> str:
    return f"{one.source.path} line {one.entries[name]['line']}"
