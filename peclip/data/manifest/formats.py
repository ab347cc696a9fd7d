"""Recognize how a table of clips is written: a manifest with any delimiter, or a list as other programs pass them on.

Lists that circulate are ``PATH FRAMES LABEL`` and ``PATH LABEL`` with blanks and no header, and csv files with a header such
as ``video_name,label`` or ``path,id``. Their labels are mostly numbers.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from peclip.data.manifest.soft import SOFT

COLUMNS = ("path", "label", "split", "fold", "start", "end", "subject", "video")
"""Columns of a manifest; ``video`` is another name of ``subject``. Upper and lower case are the same."""

FOLD = re.compile(r"fold_([1-9]\d{0,2})")
"""Columns with the role of each clip in a fold, instead of the column ``fold``."""

DELIMITERS = (",", ";", "\t")

BLANKS = " "
"""Delimiter of lists with any white space between their columns, which are counted from the end of a line: paths have blanks."""

PATH_NAMES = (
    *("path", "video_path", "file_path", "filepath", "video_name", "file_name", "filename", "clip_name"),
    *("video", "file", "clip", "name", "video_id", "clip_id", "id"),
)
LABEL_NAMES = ("label", "labels", "emotion", "expression", "class", "class_id", "category", "target", "label_id", "id")
"""Names of the columns of lists, in lower case; if a header has several, the first of this list is used."""

NUMBER = re.compile(r"\d{1,9}(?:\.0+)?")

WORDS = re.compile(r"[^\W\d_][^\s/\\.]*(?: [^\W\d_][^\s/\\.]*)*")
"""A label by name: words that begin with a letter and hold neither slash nor point, as paths do."""

SAMPLE = 50
"""Lines by which a format is recognized."""


@dataclass(frozen=True)
class ListFormat:
    """The columns of a list.

    Attributes:
        delimiter: one of :data:`DELIMITERS`, or :data:`BLANKS`.
        columns: names of the columns; in capitals if the list has no header.
        path: place of the path among the columns.
        label: place of the label.
        captions: whether any number of columns may follow.
    """

    delimiter: str
    columns: tuple[str, ...]
    path: int
    label: int
    captions: bool = False

    @property
    def header(self) -> bool:
        """True if the first line names the columns."""
        return not self.columns[0].isupper()

    def __str__(self) -> str:
        between = "<TAB>" if self.delimiter == "\t" else self.delimiter
        names = between.join([*self.columns, *(["..."] if self.captions else [])])
        shown = names if len(names) <= 80 else f"{names[:77]}..."
        return f"a list {shown} {'with' if self.header else 'without'} a header"

    @property
    def unread(self) -> list[str]:
        """Named columns of which nothing is read."""
        return [name for place, name in enumerate(self.columns) if self.header and place not in (self.path, self.label)]

    def cells(self, line: str) -> list[str] | None:
        """Return the values of a line, stripped; None if it has another number of columns."""
        found = cells_of(line, self.delimiter, len(self.columns))
        fits = len(found) >= len(self.columns) if self.captions else len(found) == len(self.columns)
        return found if fits else None


def fold_columns(names: Iterable[object]) -> dict[int, str]:
    """Return those columns that state the roles of the clips in a fold, by the fold, ascending."""
    found = {int(match[1]): match[0] for name in names if (match := FOLD.fullmatch(str(name)))}
    return dict(sorted(found.items()))


def column_name(written: str) -> str:
    """Return the name of a manifest's column in lower case, as all others have it; another name as it is written."""
    name = written.lower()
    if name in COLUMNS or FOLD.fullmatch(name):
        return name
    return f"p_{written[2:]}" if SOFT.fullmatch(name) else written


def manifest_columns(names: Iterable[object]) -> list[str]:
    """Return the columns that only manifests have, and that a conversion would lose."""
    known = (column_name(str(name)) for name in names)
    return [
        name
        for name in known
        if name not in ("path", "label") and (name in COLUMNS or FOLD.fullmatch(name) or SOFT.fullmatch(name))
    ]


RELATIVE = "write paths relative to the manifest's folder"
"""Advice on paths of another machine where :func:`list_command` is none."""


def list_command(path: Path | str, numbers: bool = False, columns: Iterable[object] = ()) -> str:
    """Return the command that makes a manifest of a list; an empty string if columns of a manifest would be lost.

    Args:
        path: the list.
        numbers: whether its labels are numbers, which have to be named.
        columns: columns of the list, in any order.
    """
    if manifest_columns(columns):
        return ""
    labels = "--labels NAMES " if numbers else ""
    return f"peclip prepare list {quote(str(path))} {labels}--root DIR --out NEW.csv"


def first_lines(raw: bytes) -> list[str]:
    """Return the first lines of a UTF-8 file that are not blank, as many as :func:`recognize` looks at."""
    lines = raw[: 1000 * SAMPLE].decode(errors="replace").split("\n")
    whole = lines if len(raw) <= 1000 * SAMPLE else lines[:-1]
    return [line.strip() for line in whole if line.strip()][:SAMPLE]


def delimiter_of(header: str) -> str:
    """Return the delimiter of a manifest with this first line: the one that yields the most names of columns."""
    return max(DELIMITERS, key=lambda delimiter: len({*map(column_name, cells_of(header, delimiter))} & {*COLUMNS}))


def recognize(lines: Sequence[str]) -> ListFormat | None:
    """Return the format of a list by its first lines that are not blank, None if it is none.

    Args:
        lines: first lines of the list, with or without a header.
    """
    if not lines:
        return None
    for delimiter in (*DELIMITERS, BLANKS):
        if named := _with_names(cells_of(lines[0], delimiter, 3), delimiter):
            return named
    for delimiter in ("\t", ",", ";", BLANKS):
        if found := _by_values(lines, delimiter):
            return found
    return None


def cells_of(line: str, delimiter: str, columns: int = 0) -> list[str]:
    """Return the values of a line, stripped.

    Args:
        line: line of the file.
        delimiter: character between the values.
        columns: number of values, for :data:`BLANKS`.
    """
    if delimiter == BLANKS:
        return line.rsplit(None, columns - 1) if columns else line.split()
    try:
        return [cell.strip() for cell in next(csv.reader([line.strip()], delimiter=delimiter, strict=True), [])]
    except csv.Error:  # a quote is not closed, or a value is too long
        return []


def _with_names(header: Sequence[str], delimiter: str) -> ListFormat | None:
    """Return the format that a header names; with blanks between its columns the path comes first and the label last."""
    names = [name.lower() for name in header]
    path = next((names.index(name) for name in PATH_NAMES if name in names), None)
    label = next((names.index(name) for name in LABEL_NAMES if name in names and names.index(name) != path), None)
    if path is None or label is None or (delimiter == BLANKS and (path, label) != (0, len(names) - 1)):
        return None
    return ListFormat(delimiter, tuple(names), path, label)


def _by_values(lines: Sequence[str], delimiter: str) -> ListFormat | None:
    """Return the format of lines without a header that is known: all labels are numbers, or all are words.

    One line of words above numbers is a header with names of its own.
    """
    for columns in (3, 2):
        rows = [cells_of(line, delimiter, columns) for line in lines]
        names = ("PATH", "FRAMES", "LABEL") if columns == 3 else ("PATH", "LABEL")
        if any(all(_is_row(row, columns, kind) for row in rows) for kind in (NUMBER, WORDS)):
            return ListFormat(delimiter, names, 0, columns - 1)
        if len(rows) > 1 and len(rows[0]) == columns and all(_is_row(row, columns, NUMBER) for row in rows[1:]):
            return ListFormat(delimiter, tuple(name.lower() or "-" for name in rows[0]), 0, columns - 1)
    if delimiter == "\t" and all(len(row) > 2 and row[0] and WORDS.fullmatch(row[1]) for row in rows):
        return ListFormat(delimiter, ("PATH", "LABEL"), 0, 1, captions=True)
    return None


def _is_row(row: Sequence[str], columns: int, label: re.Pattern[str]) -> bool:
    """Return whether values are those of a path, of a number of frames if there are three, and of a label."""
    if len(row) != columns or not row[0] or (columns == 3 and not NUMBER.fullmatch(row[1])):
        return False
    return bool(label.fullmatch(row[-1]))
