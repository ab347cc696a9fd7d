"""Functions shared by the readers of released layouts: find folders, read lists, recognize clips, make rows."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from peclip import labels
from peclip.data.manifest import Manifest
from peclip.data.manifest.text import read_utf8
from peclip.errors import InputError, shown
from peclip.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES, natural_key

CLIPS_FOLDER = 1000
"""Number of subfolders above which they are taken for clips, and not searched."""

DIGITS = 10
"""Number of digits from which on a name is not taken for the number of a clip."""


def locate(root: Path, benchmark: str, *candidates: str) -> Path:
    """Return the first candidate that exists below a benchmark's root, or below a folder in it named after it.

    Args:
        root: folder given by the user.
        benchmark: official name, for messages and for the folder in between (``root/FERV39K/...``).
        candidates: relative paths; the first is the one that messages name.

    Raises:
        InputError: there is no root, or no candidate in it.
    """
    check_root(root)
    for folder in (root, *(child for child in children(root) if child.name.lower() == benchmark.lower())):
        for candidate in candidates:
            if (folder / candidate).exists():
                return folder / candidate
    other = f" (or {', '.join(candidates[1:])})" if len(candidates) > 1 else ""
    raise InputError(f"{root}: not the released layout of {benchmark}, expected {candidates[0]}{other} in it")


def check_root(root: Path) -> None:
    """Raise an :class:`InputError` unless this is a folder that can be listed."""
    if not root.exists():
        raise InputError(f"root {root}: no such folder", "root")
    if not root.is_dir():
        raise InputError(f"{root}: is a file, expected a folder")
    children(root)


def children(folder: Path) -> list[Path]:
    """Return the content of a folder, without what is hidden or a Mac's archive adds, in natural order (2 before 10)."""
    try:
        return sorted(
            (child for child in folder.iterdir() if not child.name.startswith(".") and child.name != "__MACOSX"),
            key=lambda child: natural_key(child.name),
        )
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from error


def is_video(path: Path) -> bool:
    """Return whether a file is a video by its suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.is_dir()


def videos_and_folders(folder: Path) -> list[Path]:
    """Return the videos and the folders in a folder, in natural order."""
    return [child for child in children(folder) if is_video(child) or child.is_dir()]


def clip_name(path: Path) -> str:
    """Return the name of a clip: that of a video without its suffix, or that of a folder of frames."""
    return path.stem if is_video(path) else path.name


def first_file(paths: Iterable[Path]) -> Path | None:
    """Return the first of these paths that is a file, if there is one."""
    return next((path for path in paths if path.is_file()), None)


def is_frame_folder(path: Path) -> bool:
    """Return whether this is a folder that holds an image."""
    if not path.is_dir():
        return False
    with os.scandir(path) as entries:
        return any(Path(entry.name).suffix.lower() in IMAGE_SUFFIXES for entry in entries)


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number (from 1) and the text of each line that is not blank."""
    for number, line in enumerate(read_utf8(path).decode().split("\n"), start=1):
        if line.strip():
            yield number, line.strip()


def to_label(name: str, known: Collection[str], where: str) -> str:
    """Return the canonical label of an emotion's name in a release.

    Raises:
        InputError: it is not one of the labels of this benchmark.
    """
    label = labels.canonical(name)
    if label not in known:
        raise InputError(f"{where}: unknown emotion {shown(name)}, expected one of {', '.join(known)}")
    return label


def row_of(clip: Path, base: Path, label: str) -> dict[str, Any]:
    """Return the row of a clip that no list of the release names: its path is also its source."""
    path = str(clip.relative_to(base))
    return {"path": path, "label": label, "source": path}


def to_manifest(rows: Sequence[Mapping[str, Any]], root: Path, notes: Sequence[str] = ()) -> Manifest:
    """Return the manifest of a benchmark from its rows, with paths relative to the root.

    Raises:
        InputError: there is no row, a clip is in two rows, or a path leads out of the root.
    """
    import pandas as pd

    if not rows:
        raise InputError(f"{root}: no clip found")
    # Objects at first: names of files may not be UTF-8.
    manifest = Manifest(pd.DataFrame(rows, dtype=object), source=root, root=root, notes=notes)
    again = manifest.table["path"].duplicated()
    if again.any():
        place = int(again.to_numpy().argmax())
        path = str(manifest.table["path"].iat[place])
        first = int(manifest.table["path"].eq(path).to_numpy().argmax())
        raise InputError(f"{root}: {manifest.where(place)}: duplicate clip {path}, first in {manifest.where(first)}")
    for place, path in enumerate(manifest.table["path"]):
        if ".." in Path(path).parts:
            raise InputError(f"{root}: {manifest.where(place)}: {shown(path)} leads out of the folder of the data set")
    return manifest


def folders_below(root: Path, deepest: int) -> Iterator[Path]:
    """Yield the folders below a root, level by level; see :func:`subfolders`.

    Args:
        root: folder to begin in, which is not yielded.
        deepest: number of levels.
    """
    level = [root]
    for _ in range(deepest):
        level = [child for folder in level for child in subfolders(folder)]
        yield from level


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder; none if they are so many that they are clips, or cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return []
    return [] if len(names) > CLIPS_FOLDER else [folder / name for name in sorted(names, key=natural_key)]


def finder(folder: Path) -> Callable[[str], Path]:
    """Return a function that finds a clip of a folder by its name, a number with any number of leading zeros.

    For a missing clip it returns the path that the clip should have; of two clips of one number it raises an
    :class:`InputError`.
    """
    numbers = numbered(folder)
    suffix = next(iter(numbers.values()))[0].suffix if numbers else ""

    def find(name: str) -> Path:
        found = numbers.get(int(name), []) if name.isdecimal() else []
        return only_one(found, folder, name) if found else folder / f"{name}{suffix}"

    return find


def only_one(found: Sequence[Path], folder: Path, name: str) -> Path:
    """Return the clip that was found under a name.

    Raises:
        InputError: there are two or more.
    """
    if len(found) > 1:
        first, second = (path.relative_to(folder) for path in found[:2])
        raise InputError(f"{folder}: clip {shown(name)} may be {first} or {second}: keep one of them")
    return found[0]


def numbered(folder: Path, deepest: int = 2) -> dict[int, list[Path]]:
    """Return the clips of a folder by their number, also those in subfolders such as ``part_1``; in any, if it has no clip itself.

    Args:
        folder: the clips of a release.
        deepest: levels of folders that are no clips.
    """
    numbers: dict[int, list[Path]] = {}
    others = []
    for child in children(folder):
        name = clip_name(child)
        if name.isdecimal() and len(name) < DIGITS and (is_video(child) or child.is_dir()):
            numbers.setdefault(int(name), []).append(child)
        elif child.is_dir():
            others.append(child)
    for child in others if deepest else ():
        if not numbers or child.name.startswith("part"):
            for number, paths in numbered(child, deepest - 1).items():
                numbers.setdefault(number, []).extend(paths)
    return numbers
