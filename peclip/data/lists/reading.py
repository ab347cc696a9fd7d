"""Read a list: the path and the label of each of its lines, as they are written, and what the names of the file say."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from peclip.data.manifest import Split
from peclip.data.manifest.formats import ListFormat, first_lines, manifest_columns, recognize
from peclip.data.manifest.reader import SPLITS
from peclip.data.manifest.text import read_utf8
from peclip.errors import InputError, shown

FORMS = "PATH FRAMES LABEL, PATH LABEL, or columns with a header such as path,label (with commas, semicolons or tabs)"

ROLES = {name: split for name, split in SPLITS.items() if name} | {
    f"{name}set": split for name, split in SPLITS.items() if name
}
"""Words in the names of files and folders, and the split for which they stand."""

FILLERS = ("single", "labeled", "labelled", "set", "sets", "split", "splits", "list", "lists", "fold", "data", "csv")
"""Words beside those of :data:`ROLES` in the names of folders of lists."""

FOLD = re.compile(r"(?:set|fold|split|fd)[ _-]*0*(\d{1,2})(?!\d)", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """A line of a list.

    Attributes:
        line: number of the line, from 1.
        parts: folders and name of the path; without the drive or the root of an absolute path.
        label: label as the list writes it.
    """

    line: int
    parts: tuple[str, ...]
    label: str


@dataclass(frozen=True)
class ClipList:
    """A list of clips.

    Attributes:
        path: the file.
        form: columns of the list.
        rows: lines of the list without the header and blank ones; at least one.
    """

    path: Path
    form: ListFormat
    rows: Sequence[Row]

    def where(self, row: Row) -> str:
        """Return the place of a row, for messages."""
        return f"{self.path} line {row.line}"


def read_list(path: Path) -> ClipList:
    """Read a list.

    Raises:
        InputError: the file cannot be read, is of none of the forms, or a line of it is of another.
    """
    raw = read_utf8(path)
    form = recognize(first_lines(raw))
    if form is None:
        lines = first_lines(raw)
        begins = f"it begins with {shown(lines[0])}" if lines else "it is empty"
        raise InputError(f"{path}: not a list of clips, expected lines {FORMS}; {begins}")
    if lost := manifest_columns(form.unread):
        raise InputError(
            f"{path} line 1: column {lost[0]!r} is not one of a list, and would be lost: with columns path and label, and paths "
            f"relative to its folder, this file is a manifest itself: peclip check {quote(str(path))}"
        )
    rows = []
    header = form.header
    for number, line in enumerate(raw.decode().split("\n"), start=1):
        if not line.strip():
            continue
        if header:
            header = False
            continue
        cells = form.cells(line.strip())
        if cells is None or not cells[form.label]:
            raise InputError(f"{path} line {number}: {shown(line.strip())} is not a line of {form}")
        rows.append(Row(number, _parts(cells[form.path], f"{path} line {number}"), cells[form.label]))
    if not rows:
        raise InputError(f"{path}: the list is empty, it has a header and no clip")
    return ClipList(path, form, rows)


def _parts(path: str, where: str) -> tuple[str, ...]:
    parts = tuple(part for part in re.split(r"[/\\]+", path) if part not in ("", "."))
    if parts and re.fullmatch(r"[A-Za-z]:", parts[0]):
        parts = parts[1:]
    if not parts or ".." in parts:
        raise InputError(f"{where}: {shown(path)} is not the path of a clip")
    return parts


def role_of(file: str, *folders: str) -> Split | None:
    """Return the split for which a list is, by the first of these names that says it; None if there is none.

    Args:
        file: name of the file, in which any word may say it, as in ``DFEW_set_1_train``.
        folders: names of the folders around it, from the inside out. All words of a name have to be about lists:
            ``train(single-labeled)`` counts, ``my test of 2024`` does not.
    """
    for name in (file, *folders):
        words = {*re.findall(r"[^\W\d_]+", name.lower())}
        found = {ROLES[word] for word in words if word in ROLES}
        if len(found) == 1 and (name == file or words <= {*ROLES, *FILLERS}):
            return found.pop()  # type: ignore[return-value]  # SPLITS has no other value
    return None


def fold_of(*names: str) -> int | None:
    """Return the number of the fold of a list, by the first of these names that holds one; see :func:`role_of`."""
    for name in names:
        numbers = FOLD.findall(name) or re.findall(r"(?<!\d)0*(\d{1,2})(?!\d)", name)
        if len(set(numbers)) == 1:
            return int(numbers[0])
    return None
