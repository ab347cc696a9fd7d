"""DFEW: five folds as csv files of numbered labels, clips as frames in three forms and as the original videos."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from peclip.data.benchmarks.folds import FoldList, merge_folds
from peclip.data.benchmarks.layout import check_root, children, finder, folders_below, numbered, to_label, to_manifest
from peclip.data.benchmarks.votes import add_votes
from peclip.data.lists.reading import fold_of, read_list, role_of
from peclip.data.manifest import Manifest, Split
from peclip.data.manifest.formats import NUMBER
from peclip.errors import InputError, shown
from peclip.labels import KNOWN, SEVEN, canonical

FORMS = {
    "frames": ("clip_224x224", "jpg_256"),
    "frames_16": ("clip_224x224_16f", "clip_224x16f"),
    "avi": ("clip_224x224_avi",),
    "video": ("original",),
}
"""The forms of the clips and the names of their folders, in the release below ``Clip``; the first that exists is read."""

OFFICIAL = re.compile(r"(?:train|test)\(single[-_]labeled\)/set_\d\.csv$")
"""End of the path of a list of the release, which counts labels from 1."""

REEXPORTED = re.compile(r"(?:train|val|test)_set_\d\.csv$")
"""End of the path of a list as other programs pass them on, which count from 0."""

DEEPEST = 4
"""Levels of folders in which lists and clips are searched."""

Numbers = dict[int, tuple[int | str, int]]  # label (a number or a name) and line, by the clip's number
Paths = dict[tuple[Split, int], list[Path]]  # paths by role and fold
Lists = dict[tuple[Split, int], tuple[Path, Numbers]]  # lists by role and fold


def dfew(
    root: Path,
    form: Literal["auto", "frames", "frames_16", "avi", "video"] = "auto",
    first_label: Literal["auto", "0", "1"] = "auto",
    votes: Literal["false", "true"] = "false",
) -> Manifest:
    """Read DFEW's single-labelled clips with their five folds.

    The lists may have any name that says for which fold they are, and for training or for testing: in the release
    ``train(single-labeled)/set_1.csv``, elsewhere ``train_set_1.csv`` or ``split01/train.csv``. They number the labels in
    the order happiness, sadness, neutral, anger, surprise, disgust, fear, from 1 or from 0: a file with a 0 counts from 0,
    a file with a 7 from 1, and one with neither as those beside it. A list ``val_set_1.csv`` holds validation clips; without
    a test list beside it, or with one of the same clips, it is the test list.

    Args:
        root: folder with ``EmoLabel_DataSplit`` and ``Clip``.
        form: aligned frames, the same interpolated to 16, aligned videos, or the original videos.
        first_label: number of happiness; by default found in the lists.
        votes: whether the shares of the ten annotators become soft labels, from ``Annotation/annotation.xlsx`` (or ``.csv``), whose
            columns are a clip (``order``) and the votes (``1happy`` to ``7fear``).

    Raises:
        InputError: a folder or the votes are missing, a line is not ``CLIP,LABEL``, or lists contradict each other.
    """
    check_root(root)
    inside = [child for child in children(root) if child.name.lower().startswith("dfew") and child.is_dir()]
    base, paths = next(((base, paths) for base in (root, *inside) if (paths := _list_paths(base))), (root, {}))
    if not paths:
        raise InputError(
            f"{root}: no list of DFEW, expected EmoLabel_DataSplit/train(single-labeled)/set_1.csv in it; for lists of other "
            "forms see peclip prepare list --help"
        )
    found = _read_lists(paths)
    first, how = _first_labels(found, first_label)
    lists = [
        FoldList(
            path,
            fold,
            role,
            {f"{clip:05d}": (_name(label, first[path]), line) for clip, (label, line) in own.items()},
        )
        for (role, fold), (path, own) in found.items()
    ]
    clips = _clips_folder(base, form, [clip for _, own in found.values() for clip in own])
    rows, notes = merge_folds(lists, base, finder(clips))
    return to_manifest(rows, base, [*how, *notes, *(add_votes(rows, base, SEVEN) if votes == "true" else ())])


def _list_paths(base: Path) -> Paths:
    """Return the lists by role and fold, those of the release if there are any; a ``val`` list without a test list tests."""
    found: Paths = {}
    for folder in (base, *folders_below(base, DEEPEST)):
        for path in children(folder):
            if path.suffix.lower() not in (".csv", ".txt") or not path.is_file():
                continue
            names = (path.stem, *reversed(path.relative_to(base).parts[:-1]))
            role, fold = role_of(*names), fold_of(*names)
            if role is not None and fold is not None and 0 <= fold <= 5:
                found.setdefault((role, fold), []).append(path)
    if any(fold == 0 for _, fold in found):
        if last := next((paths[0] for (_, fold), paths in found.items() if fold == 5), None):
            raise InputError(f"{last}: is a list of fold 5 beside one of fold 0, expected folds 1 to 5 or 0 to 4")
        found = {(role, fold + 1): paths for (role, fold), paths in found.items()}
    official = {key: [path for path in paths if OFFICIAL.search(str(path))] for key, paths in found.items()}
    for fold in range(1, 6):
        if ("val", fold) in found and ("test", fold) not in found:
            found["test", fold] = found.pop(("val", fold))
        elif official.get(("test", fold)):
            found.pop(("val", fold), None)  # the release has no validation clips: it is somebody else's list
    return {key: official.get(key) or paths for key, paths in sorted(found.items())}


def _read_lists(paths: Paths) -> Lists:
    """Read the lists, but for those of validation clips that repeat the test list of their fold.

    Raises:
        InputError: a list cannot be read, or two for the same part of a fold differ.
    """
    found: Lists = {}
    for key, (first, *others) in paths.items():
        found[key] = first, _read_list(first)
        for other in others:
            if {clip: label for clip, (label, _) in _read_list(other).items()} != {
                clip: label for clip, (label, _) in found[key][1].items()
            }:
                raise InputError(
                    f"{first} and {other} are both for {key[0]} of fold {key[1]}, and differ: keep one of them"
                )
    # Programs that always read three lists come with the test list copied as the list of validation clips.
    copies = [fold for role, fold in found if role == "val" and _same_clips(found, fold)]
    return {key: one for key, one in found.items() if key not in [("val", fold) for fold in copies]}


def _same_clips(lists: Lists, fold: int) -> bool:
    return lists["val", fold][1].keys() == lists["test", fold][1].keys()


def _read_list(path: Path) -> Numbers:
    """Return a list as it is written."""
    numbers: Numbers = {}
    listed = read_list(path)
    for row in listed.rows:
        name, where = row.parts[-1].partition(".")[0], listed.where(row)
        label = int(float(row.label)) if NUMBER.fullmatch(row.label) else None
        if not NUMBER.fullmatch(name) or any(canonical(folder) in KNOWN for folder in row.parts[-2:-1]):
            text = f"{'/'.join(row.parts)} {row.label}"
            raise InputError(f"{where}: {shown(text)} is not a line of DFEW, expected CLIP,LABEL as in '1,6'")
        if label is not None and label > len(SEVEN):
            raise InputError(f"{where}: unknown label {label}, expected 1 to 7 (or 0 to 6)")
        if (clip := int(name)) in numbers:
            raise InputError(f"{where}: duplicate clip {clip}, first in line {numbers[clip][1]}")
        numbers[clip] = (to_label(row.label, SEVEN, where) if label is None else label, row.line)
    if _counts_from(numbers) == 0 and (sevens := [line for label, line in numbers.values() if label == len(SEVEN)]):
        raise InputError(f"{path} line {sevens[0]}: label 7 in a list with a label 0; are two lists mixed?")
    return numbers


def _counts_from(numbers: Numbers) -> int | None:
    """Return whether a list's labels count from 0 or from 1, or None if that is open."""
    labels = {label for label, _ in numbers.values()}
    return 0 if 0 in labels else 1 if len(SEVEN) in labels else None


def _first_labels(lists: Lists, given: str) -> tuple[dict[Path, int], Sequence[str]]:
    """Return the number of the first label of each list, and a note that says it.

    Raises:
        InputError: a list shows no 0 and no 7, and those beside it do not agree.
    """
    shown_by = {path: _counts_from(numbers) for path, numbers in lists.values()}
    known = {first for first in shown_by.values() if first is not None}
    if given != "auto":
        wrong = next((path for path, first in shown_by.items() if first not in (None, int(given))), None)
        if wrong:
            raise InputError(
                f"{wrong}: its labels count from {shown_by[wrong]}, but first_label is {given}", "first_label"
            )
        known = {int(given)}
    first = {}
    for path, own in shown_by.items():
        by_name = {1} if OFFICIAL.search(str(path)) else {0} if REEXPORTED.search(str(path)) else set()
        possible = {own} if own is not None else known or by_name
        if len(possible) != 1:
            raise InputError(f"{path}: do its labels count from 0 or from 1? set first_label 0 or 1", "first_label")
        first[path] = next(iter(possible))
    count = sorted(set(first.values()))
    why = "" if known else ", which is assumed by the names of the lists: none has a 0 or a 7"
    return first, [f"the labels of the lists count from {' and '.join(map(str, count))}{why}"]


def _name(label: int | str, first: int) -> str:
    return label if isinstance(label, str) else SEVEN[label - first]


def _clips_folder(base: Path, form: str, clips: Sequence[int]) -> Path:
    """Return the folder of the clips in a form; by default of any, or the only one that has clips of the lists.

    Raises:
        InputError: there is none, or there are several of unknown names.
    """
    names = [name for key, folders in FORMS.items() if form in ("auto", key) for name in folders]
    folders = [base, *folders_below(base, DEEPEST)]
    for name in names:
        for folder in folders:
            if folder.name == name:
                return folder
    others = list(_with_clips(folders, {*clips})) if form == "auto" else []
    if len(others) == 1:
        return others[0]
    if others:
        raise InputError(f"{base}: clips of DFEW are in {others[0]} and in {others[1]}: rename one of them {names[0]}")
    raise InputError(
        f"{base}: not the released layout of DFEW, expected Clip/{names[0]} (or {', '.join(names[1:])}) in it"
    )


def _with_clips(folders: Sequence[Path], clips: set[int]) -> Iterator[Path]:
    for folder in folders:
        if clips & numbered(folder, deepest=0).keys():
            yield folder
