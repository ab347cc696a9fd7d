"""Read the csv of a manifest as text, and name the line of a mistake."""

from __future__ import annotations

import io
import os
import re
import warnings
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, NoReturn

from peclip.data.manifest.formats import (
    COLUMNS,
    FOLD,
    NUMBER,
    cells_of,
    column_name,
    delimiter_of,
    first_lines,
    fold_columns,
    list_command,
    manifest_columns,
    recognize,
)
from peclip.data.manifest.soft import SOFT, check_classes
from peclip.data.manifest.text import read_utf8
from peclip.errors import InputError, shown

if TYPE_CHECKING:
    import pandas as pd

PIECE = 10_000
"""Rows that are read, or turned into Python's own strings, at once."""


def read_table(path: Path | str, labels_required: bool) -> pd.DataFrame:
    """Return all values as text, with the number of each line."""
    if os.path.isdir(path):
        makes = (
            f"peclip prepare folders --root {quote(str(path))} --out mine.csv makes a manifest of a folder per class"
        )
        raise InputError(f"{path}: is a folder, expected a text file: {makes}")
    raw = read_utf8(path)
    first = raw.split(b"\n", 1)[0].decode()
    if re.fullmatch(r"sep=.", first.strip()):
        raise InputError(f"{path} line 1: {first.strip()!r} is for Excel: remove this line")
    delimiter = delimiter_of(first)
    header = [*map(column_name, cells_of(first, delimiter))]
    try:
        _check_header(path, header, labels_required)
    except InputError as error:
        # A manifest with one mistake may hold more than a list could keep.
        raise InputError(f"{error}{'' if {'path', 'label'} <= {*header} else _as_list(path, raw)}") from error
    check_classes(header, f"{path} line 1")
    table = _parse(path, raw, header, delimiter)
    table["line"] = range(2, len(table) + 2)
    table = table.rename(columns={"video": "subject"})
    header = ["subject" if name == "video" else name for name in header]
    if b'"' in raw:
        broken = table["path"].str.contains("\n")
        for name in header:
            broken |= table[name].str.contains("\n")
        refuse(path, table, broken, "a value continues on the next line; is a quote missing?")
    blank = table[header[0]].eq("")
    for name in header[1:]:
        blank &= table[name].eq("")
    return table[~blank].reset_index(drop=True) if blank.any() else table


def _parse(path: Path | str, raw: bytes, header: list[str], delimiter: str) -> pd.DataFrame:
    """Return the rows below the header."""
    import pandas as pd

    try:
        with warnings.catch_warnings():
            # pandas drops surplus values of the first row with a warning: here they are a mistake like any other.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # In pieces, each of which is held as Python's own strings only until the next one.
            pieces = pd.read_csv(
                io.BytesIO(raw),
                names=header,
                header=0,
                dtype=str,
                na_filter=False,
                skip_blank_lines=False,  # because lines are counted
                index_col=False,
                sep=delimiter,
                chunksize=PIECE,
            )
            return pd.concat(pieces, ignore_index=True)
    except pd.errors.ParserWarning as warning:
        raise InputError(f"{path} line 2: more values than the {len(header)} columns of the header") from warning
    except pd.errors.ParserError as error:
        _explain(path, str(error), error)


def _as_list(path: Path | str, raw: bytes) -> str:
    """Return advice on making a manifest of a list in another form; an empty string if the file is no list."""
    lines = first_lines(raw)
    found = recognize(lines)
    if found is None:
        return ""
    if manifest_columns(found.unread):
        wrong = {found.columns[found.path]: "path", found.columns[found.label]: "label"}
        return f"; rename {' and '.join(f'{shown(name)} to {ours}' for name, ours in wrong.items() if name != ours)}"
    last = found.cells(lines[-1]) or []
    numbers = bool(NUMBER.fullmatch(last[found.label])) if last else False
    return f"; this is {found}: {list_command(path, numbers)} makes a manifest of it"


def _explain(path: Path | str, message: str, cause: Exception) -> NoReturn:
    """Turn a message of pandas' parser into one for people."""
    if found := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", message):
        wanted, line, saw = found.groups()
        raise InputError(f"{path} line {line}: {saw} values, the header has {wanted}") from cause
    if found := re.search(r"EOF inside string starting at row (\d+)", message):
        raise InputError(f"{path} line {int(found[1]) + 1}: a quote is not closed") from cause
    raise InputError(f"{path}: not a valid csv ({message.strip()})") from cause


def _check_header(path: Path | str, header: list[str], labels_required: bool) -> None:
    expected = f"allowed are {', '.join(COLUMNS)}, fold_1, fold_2, ..., p_LABEL of every class"
    required = ("path", "label") if labels_required else ("path",)
    if not any(header):
        raise InputError(f"{path} line 1: the header path,label is missing; {expected}")
    if not set(header) & set(COLUMNS):
        raise InputError(f"{path} line 1: not the header of a manifest, expected path,label; {expected}")
    for name in header:
        if name not in COLUMNS and not FOLD.fullmatch(name) and not SOFT.fullmatch(name):
            remove = ": remove it" if {"path", "label"} <= {*header} else ""
            raise InputError(f"{path} line 1: unknown column {shown(name)}{remove}; {expected}")
        if header.count(name) > 1:
            raise InputError(f"{path} line 1: duplicate column {shown(name)}")
    if {"subject", "video"} <= {*header}:
        raise InputError(
            f"{path} line 1: columns 'subject' and 'video' say the same: keep the one that joins more clips"
        )
    if "fold" in header and (roles := [*fold_columns(header).values()]):
        raise InputError(f"{path} line 1: columns 'fold' and {roles[0]!r} both state the folds: keep one kind")
    for name in required:
        if name not in header:
            raise InputError(f"{path} line 1: column {name!r} is missing; {expected}")


def refuse(
    path: Path | str, table: pd.DataFrame, bad: pd.Series, message: str, column: str | None = None, *arguments: str
) -> None:
    """Raise for the first row where ``bad`` is true; ``{}`` in the message is the row's value of the column."""
    if bad.any():
        row = int(bad.to_numpy().argmax())
        value = table[column].iat[row] if column else ""
        named = message.replace("{}", shown(value) if isinstance(value, str) else str(value), 1)
        raise InputError(f"{path} line {table['line'].iat[row]}: {named}", *arguments)
