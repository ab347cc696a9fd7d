"""UCF101 and HMDB51: actions, a folder per class, and three official divisions into training and test clips as folds.

Classes keep the names of the release (``ApplyEyeMakeup``, ``brush_hair``); a template for class texts writes them as words.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peclip.data.benchmarks.folds import FoldList, merge_folds
from peclip.data.benchmarks.layout import (
    check_root,
    children,
    clip_name,
    folders_below,
    only_one,
    read_lines,
    to_manifest,
    videos_and_folders,
)
from peclip.data.manifest import Manifest
from peclip.errors import InputError, shown

UCF_LIST = re.compile(r"(?P<role>train|test)list0?(?P<fold>[123])\.txt")

UCF_GROUP = re.compile(r"_g(\d+)_c\d+$")
"""End of a clip's name in UCF101: clips of one group are from one longer video, and never divided."""

HMDB_LIST = re.compile(r"(?P<label>.+)_test_split(?P<fold>[123])\.txt")

HMDB_ROLES = {"0": "", "1": "train", "2": "test"}
"""Meaning of the numbers in HMDB51's lists; 0 is for clips that a split does not use."""

OUTSIDE = (".", "..")
"""Folders that are no class."""

DEEPEST = 2
"""Levels of folders in which lists and clips are searched."""


@dataclass(frozen=True)
class _Release:
    """A release: the folder to which paths are relative, its lists by their match, and a function that finds clips."""

    base: Path
    lists: list[tuple[Path, re.Match[str]]]
    find: Callable[[str, str], Path]


def ucf101(root: Path) -> Manifest:
    """Read UCF101: ``UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi``, with ``ucfTrainTestlist`` beside it.

    The groups of the clips are their subjects, so that no group is trained and validated on.

    Args:
        root: folder of the release.

    Raises:
        InputError: a folder or the lists are missing, a line is not ``CLASS/CLIP.avi``, or lists contradict each other.
    """
    release = _release(root, "UCF101", UCF_LIST, "ucfTrainTestlist/trainlist01.txt", _first_class_of_ucf)
    lists = [
        FoldList(path, int(found["fold"]), "test" if found["role"] == "test" else "train", dict(_ucf_lines(path)))
        for path, found in release.lists
    ]
    rows, notes = merge_folds(lists, release.base, lambda name: release.find(*name.split("/")))
    for row in rows:
        group = UCF_GROUP.search(Path(row["path"]).stem)
        row["subject"] = f"{row['label']} {group[1]}" if group else ""
    return to_manifest(rows, release.base, notes)


def hmdb51(root: Path) -> Manifest:
    """Read HMDB51: ``brush_hair/NAME.avi``, with ``testTrainMulti_7030_splits/brush_hair_test_split1.txt`` and so on.

    A clip may be tested in several folds, and unused in others. The videos in the names are the subjects, if the folds keep
    them apart.

    Args:
        root: folder of the release.

    Raises:
        InputError: a folder or a list is missing, or a line is not ``NAME.avi`` with 0, 1 or 2.
    """
    expected = "testTrainMulti_7030_splits/brush_hair_test_split1.txt"
    release = _release(root, "HMDB51", HMDB_LIST, expected, lambda _, found: found["label"])
    _check_lists(root, {(found["label"], found["fold"]) for _, found in release.lists})
    folds = sorted({f"fold_{found['fold']}" for _, found in release.lists})
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for path, found in release.lists:
        label, fold = found["label"], f"fold_{found['fold']}"
        for line, name, number in _hmdb_lines(path):
            where = {"source": str(path.relative_to(release.base)), "line": line}
            row = rows.setdefault((label, name), {"label": label, **dict.fromkeys(folds, None), **where})
            if row[fold] is not None:
                raise InputError(f"{path} line {line}: duplicate clip {shown(name)}")
            row[fold] = HMDB_ROLES[number]
            video = name.rpartition(f"_{label}_")[0]
            row |= {
                "path": str(release.find(label, name).relative_to(release.base)),
                "subject": video and f"{label} {video}",
            }
    return _with_videos(to_manifest(list(rows.values()), release.base))


def _release(
    root: Path, benchmark: str, pattern: re.Pattern[str], expected: str, class_of: Callable[[Path, re.Match[str]], str]
) -> _Release:
    """Find the lists and the clips of a release, at most :data:`DEEPEST` folders below its root.

    Args:
        root: the folder that the user names.
        benchmark: official name.
        pattern: pattern that the file names of the lists match.
        expected: path of a list, for the message.
        class_of: function that returns the name of a class in a list, by which the folder of the clips is known.

    Raises:
        InputError: they are missing.
    """
    check_root(root)
    folders = [root, *folders_below(root, DEEPEST)]
    for folder in folders:
        lists = [(path, found) for path in children(folder) if (found := pattern.fullmatch(path.name))]
        if lists:
            break
    else:
        raise InputError(f"{root}: not the released layout of {benchmark}, expected {expected} in it")
    name = class_of(*lists[0])
    clips = next((folder for folder in folders if (folder / name).is_dir()), None)
    if clips is None:
        raise InputError(f"{root}: not the released layout of {benchmark}, expected a folder {name} with clips in it")
    return _Release(root, sorted(lists), _finder(clips))


def _check_lists(root: Path, found: set[tuple[str, str]]) -> None:
    """Check that every class of HMDB51 has a list of each fold: without it the fold would lack the class.

    Raises:
        InputError: one is missing.
    """
    for label, fold in sorted({(label, fold) for label, _ in found for _, fold in found} - found):
        raise InputError(
            f"{root}: {label}_test_split{fold}.txt is missing, but other classes have their lists of fold {fold}"
        )


def _finder(clips: Path) -> Callable[[str, str], Path]:
    """Return a function that finds a clip by class and name, as a video of any suffix or as a folder of frames.

    For a missing clip it returns the path that the clip should have; of two clips of one name it raises an
    :class:`InputError`, unless one has the very name of the list.
    """
    known: dict[str, defaultdict[str, list[Path]]] = {}

    def find(label: str, name: str) -> Path:
        folder = clips / label
        if label not in known:
            known[label] = defaultdict(list)
            for path in videos_and_folders(folder) if folder.is_dir() else ():
                known[label][clip_name(path)].append(path)
        found = known[label].get(name.removesuffix(".avi"), [])
        return only_one(found, folder, name) if found and folder / name not in found else folder / name

    return find


def _first_class_of_ucf(path: Path, _: re.Match[str]) -> str:
    return next((name.partition("/")[0] for name, _ in _ucf_lines(path)), "ApplyEyeMakeup")


def _ucf_lines(path: Path) -> Iterator[tuple[str, tuple[str, int]]]:
    """Yield each clip of a list with its class and line; the number of the class, if there is one, is ignored.

    Raises:
        InputError: a line is something else, or names a clip again.
    """
    seen: dict[str, int] = {}
    for line, text in read_lines(path):
        name, _, number = text.partition(".avi")
        label, slash, clip = name.partition("/")
        if (
            not (label and slash and clip)
            or "/" in clip
            or label in OUTSIDE
            or not (number.strip().isdecimal() or not number.strip())
        ):
            raise InputError(f"{path} line {line}: {shown(text)} is not a line of UCF101, expected CLASS/CLIP.avi")
        if name in seen:
            raise InputError(f"{path} line {line}: duplicate clip {shown(name)}, first in line {seen[name]}")
        seen[name] = line
        yield f"{name}.avi", (label, line)


def _hmdb_lines(path: Path) -> Iterator[tuple[int, str, str]]:
    for line, text in read_lines(path):
        name, _, number = text.rpartition(" ")
        if not name.strip() or "/" in name or number not in HMDB_ROLES:
            raise InputError(
                f"{path} line {line}: {shown(text)} is not a line of HMDB51, expected NAME.avi and 0, 1 or 2"
            )
        yield line, name.strip(), number


def _with_videos(manifest: Manifest) -> Manifest:
    """Return the manifest with its videos as subjects if no fold has a video on both sides, else without."""
    from peclip.data.subjects import on_several_sides  # imports pandas, which options alone do not need

    for fold in manifest.folds:
        used = manifest.roles(fold).ne("")
        if on_several_sides(manifest.select(used), [*manifest.roles(fold)[used]]):
            note = "videos of the names are in training and test clips of a fold: validation does not keep them apart"
            return Manifest(manifest.table.assign(subject=""), manifest.source, manifest.root, [note])
    return manifest
