"""Find the clips of a list below a folder: its paths begin as on the machine where it was written."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unicodedata import normalize

from peclip.data.benchmarks.layout import check_root, subfolders
from peclip.data.lists.reading import ClipList, Row
from peclip.errors import InputError, short
from peclip.files import VIDEO_SUFFIXES

SAMPLE = 50
"""Rows by which the folder of the clips is found."""

DEEPEST = 4
"""Levels of folders below the given one that are searched."""


@dataclass(frozen=True)
class FoundClips:
    """The clips of a list.

    Attributes:
        paths: a file or folder for each row; if it is missing, the one that was expected.
        missing: the rows whose clip is missing.
        note: sentence on the place where the clips were found.
    """

    paths: Sequence[Path]
    missing: Sequence[Row]
    note: str


@dataclass
class ClipFinder:
    """Finds clips by the names that lists have for them, and remembers the folders it has listed.

    The name may lack the suffix of the video, have one if there is a folder of frames, lack leading zeros, or have letters
    composed that are decomposed in the list.
    """

    _folders: dict[Path, "_Names"] = field(default_factory=dict)

    def find(self, path: Path) -> Path | None:
        """Return the file or folder of a clip, None if there is none.

        Raises:
            InputError: two of them have that name.
        """
        return self._names(path.parent).find(path.name)

    def has(self, folder: Path, name: str) -> bool:
        """Return whether a folder holds exactly this name."""
        return name in self._names(folder).exact

    def _names(self, folder: Path) -> "_Names":
        if folder not in self._folders:
            self._folders[folder] = _Names(folder)
        return self._folders[folder]


class _Names:
    """The clips in a folder, by their names, and by their numbers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.exact: set[str] = set()
        self.by_name: dict[str, list[str]] = {}
        self.by_number: dict[int, list[str]] = {}
        try:
            with os.scandir(folder) as entries:
                found = sorted((entry.name, entry.is_dir()) for entry in entries)
        except (OSError, ValueError):  # a list may hold names that no file can have
            found = []
        for name, is_folder in found:
            self.exact.add(name)
            plain, suffix = os.path.splitext(name)
            if (is_folder or suffix.lower() in VIDEO_SUFFIXES) and not name.startswith("."):
                plain = normalize("NFC", name if is_folder else plain)
                self.by_name.setdefault(plain, []).append(name)
                if plain.isdecimal():
                    self.by_number.setdefault(int(plain), []).append(name)

    def find(self, name: str) -> Path | None:
        if name in self.exact:
            return self.folder / name
        stem, suffix = os.path.splitext(name)
        plain = normalize("NFC", stem if suffix.lower() in VIDEO_SUFFIXES else name)
        found = self.by_name.get(plain) or (self.by_number.get(int(plain)) if plain.isdecimal() else None) or []
        if len(found) > 1:
            raise InputError(f"{self.folder}: {short(name)} may be {found[0]} or {found[1]}; keep one of them")
        return self.folder / found[0] if found else None


def find_clips(one: ClipList, root: Path, drop: int | None, finder: ClipFinder) -> FoundClips:
    """Find the clips of a list.

    The paths of a list share their first folders. Without ``drop``, as many of them are dropped as it takes to find clips
    below the root. If the rest of the path is nowhere, clips of these names are searched in folders below it, of which one
    that has the name of the clips' last shared folder is preferred.

    Args:
        one: the list.
        root: the folder below which its clips are.
        drop: number of folders to drop from the beginning of each path.
        finder: finds single clips.

    Raises:
        InputError: no clip is found, or clips of these names are in several places.
    """
    check_root(root)
    shared = _shared_folders(one.rows)
    if drop is not None:
        bare = next((row for row in one.rows if len(row.parts) <= drop), None)
        if bare:
            raise InputError(f"{one.where(bare)}: drop is {drop}, but the path has {len(bare.parts)} parts", "drop")
        return _collect(one, root, drop, finder, f"the first {drop} folders of the paths are dropped")
    sample = one.rows[:: max(1, len(one.rows) // SAMPLE)]
    bases = [root.joinpath(*shared[first:]) for first in range(len(shared) + 1)]
    found = [base for base in bases if _any(base, sample, len(shared), finder)]
    if len(found) > 1:
        first, second = (f"drop {bases.index(base)} ({base})" for base in found[:2])
        raise InputError(f"{one.path}: its clips are found in two ways: set {first} or {second}", "drop")
    if not found:
        found = list(_bases_below(root, sample, len(shared), finder))
        if len(alike := [base for base in found if base.name == (shared or ("",))[-1]]) == 1:
            found = alike
        if len(found) > 1:
            raise InputError(
                f"{one.path}: clips of these names are in {found[0]} and in {found[1]}: name one as root", "root"
            )
    if not found:
        first_row = one.rows[0]
        whole, rest = (short("/".join(first_row.parts[start:])) for start in (0, len(shared)))
        raise InputError(
            f"{one.where(first_row)}: no clip of this list is below {root}: expected {whole}, or an end of this path, or "
            f"{rest} in a folder at most {DEEPEST} levels below",
            "root",
        )
    return _collect(one, found[0], len(shared), finder, f"clips in {found[0]}, named /{'/'.join(shared)} in the list")


def _collect(one: ClipList, base: Path, first: int, finder: ClipFinder, note: str) -> FoundClips:
    paths, missing = [], []
    for row in one.rows:
        wanted = base.joinpath(*row.parts[first:])
        path = finder.find(wanted)
        if path is None:
            missing.append(row)
        paths.append(path or wanted)
    if len(missing) == len(one.rows):
        raise InputError(f"{one.where(one.rows[0])}: no such clip: {paths[0]}", "drop")
    return FoundClips(paths, missing, note)


def _shared_folders(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the first folders that all paths share."""
    first, last = min(row.parts[:-1] for row in rows), max(row.parts[:-1] for row in rows)
    length = next((place for place, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), None)
    return first[: min(len(first), len(last)) if length is None else length]


def _bases_below(root: Path, sample: Sequence[Row], first: int, finder: ClipFinder) -> Iterator[Path]:
    """Yield the folders below a root in which clips of the sample are; what is in these is not searched."""
    level = [root]
    for _ in range(DEEPEST):
        level = [child for folder in level for child in subfolders(folder)]
        found = {base for base in level if _any(base, sample, first, finder)}
        yield from (base for base in level if base in found)
        level = [folder for folder in level if folder not in found]


def _any(base: Path, sample: Sequence[Row], first: int, finder: ClipFinder) -> bool:
    """Return whether a clip of the sample is below a folder."""
    inside = (row for row in sample if len(row.parts) == first + 1 or finder.has(base, row.parts[first]))
    return any(finder.find(base.joinpath(*row.parts[first:])) is not None for row in inside)
