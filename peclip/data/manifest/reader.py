"""Read the csv of a manifest: every mistake in it becomes an error that names the file and the line.

All checks run on whole columns, so that a manifest of a million rows is read in seconds. pandas is imported by what needs it.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from peclip.data.manifest.formats import (
    COLUMNS,
    FOLD,
    NUMBER,
    cells_of,
    delimiter_of,
    first_lines,
    fold_columns,
    list_command,
    recognise,
)
from peclip.data.manifest.soft import SOFT, check_classes, mistakes, soft_columns
from peclip.data.manifest.text import read_utf8
from peclip.errors import InputError, short, shown

if TYPE_CHECKING:
    import pandas as pd

SPLITS = {
    "": "",
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Spellings of the splits, in lower case, and the one name peclip uses."""

PIECE = 10_000
"""Rows that are read, or turned into Python's own strings, at once."""

ODD_PATH = re.compile(r"^\s*$|^/|\\|^[A-Za-z]:|(?:^|/)\.{0,2}(?:/|$)", re.MULTILINE)
"""A path that is empty, absolute, has a backslash, or a part that is empty, ``.`` or ``..``."""

WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
"""Beginning of an absolute path of Windows: a drive, or a server."""


def parse_manifest(path: Path | str, labels_required: bool, allow_outside: bool) -> pd.DataFrame:
    """Read and check a manifest's csv.

    Returns:
        The columns of the csv, ``source`` (the file's name) and ``line`` (counted from 1); paths normalised.

    Raises:
        InputError: the file or a line of it is invalid.
    """
    table = _read_table(path, labels_required)
    if table.empty:
        raise InputError(f"{path}: the manifest is empty, it has a header and no clip")
    if "label" in table:
        table["label"] = each_value(table["label"], str.strip)
        second_header = table["path"].eq("path") & table["label"].eq("label")
        _refuse(path, table, second_header, "a second header; were two files joined? keep one header")
        if labels_required:
            _refuse(path, table, table["label"].eq(""), "the label is empty")
    table["path"] = _normalised_paths(path, table, allow_outside)
    if "split" in table:
        split = each_value(table["split"], lambda name: SPLITS.get(name.strip().lower()))
        _refuse(path, table, split.isna(), "unknown split {}, expected train, val or test", "split")
        table["split"] = split
    if "fold" in table:
        fold = _numbers(path, table, "fold")
        _refuse(path, table, fold.notna() & (fold.mod(1).ne(0) | fold.lt(0)), "fold {} is not a whole number", "fold")
        table["fold"] = fold.astype("Int64")
    for name in fold_columns(table).values():
        role = each_value(table[name], lambda name: SPLITS.get(name.strip().lower()))
        _refuse(path, table, role.isna(), name + " is {}, expected train, val, test, or nothing where unused", name)
        table[name] = role
    if "subject" in table:
        table["subject"] = each_value(table["subject"], str.strip)
    for name in soft_columns(table).values():
        table[name] = _numbers(path, table, name)
    for bad, message in mistakes(table):
        _refuse(path, table, bad, message)
    _check_times(path, table)
    _check_duplicates(path, table)
    return table.assign(source=os.path.basename(path))


def _read_table(path: Path | str, labels_required: bool) -> pd.DataFrame:
    """Return all values as text, with the number of each line."""
    import pandas as pd

    raw = read_utf8(path)
    first = raw.split(b"\n", 1)[0].decode()
    if re.fullmatch(r"sep=.", first.strip()):
        raise InputError(f"{path} line 1: {first.strip()!r} is for Excel: remove this line")
    delimiter = delimiter_of(first)
    header = cells_of(first, delimiter)
    try:
        _check_header(path, header, labels_required)
    except InputError as error:
        raise InputError(f"{error}{_as_list(path, raw)}") from error
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
                skip_blank_lines=False,  # or lines could not be counted
                index_col=False,
                sep=delimiter,
                chunksize=PIECE,
            )
            table = pd.concat(pieces, ignore_index=True)
    except pd.errors.ParserWarning as warning:
        raise InputError(f"{path} line 2: more values than the {len(header)} columns of the header") from warning
    except pd.errors.ParserError as error:
        _explain(path, str(error), error)
    table["line"] = range(2, len(table) + 2)
    table = table.rename(columns={"video": "subject"})
    header = ["subject" if name == "video" else name for name in header]
    if b'"' in raw:
        broken = table["path"].str.contains("\n")
        for name in header:
            broken |= table[name].str.contains("\n")
        _refuse(path, table, broken, "a value continues on the next line; is a quote missing?")
    blank = table[header[0]].eq("")
    for name in header[1:]:
        blank &= table[name].eq("")
    return table[~blank].reset_index(drop=True) if blank.any() else table


def _as_list(path: Path | str, raw: bytes) -> str:
    """Return how a manifest is made of a file that is a list of another form, nothing if it is none."""
    lines = first_lines(raw)
    found = recognise(lines)
    if found is None:
        return ""
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
            raise InputError(f"{path} line 1: unknown column {shown(name)}; {expected}")
        if header.count(name) > 1:
            raise InputError(f"{path} line 1: duplicate column {shown(name)}")
    check_classes(header, f"{path} line 1")
    if {"subject", "video"} <= {*header}:
        raise InputError(
            f"{path} line 1: columns 'subject' and 'video' say the same: keep the one that joins more clips"
        )
    if "fold" in header and (roles := [*fold_columns(header).values()]):
        raise InputError(f"{path} line 1: columns 'fold' and {roles[0]!r} both state the folds: keep one kind")
    for name in required:
        if name not in header:
            raise InputError(f"{path} line 1: column {name!r} is missing; {expected}")


def _refuse(
    path: Path | str, table: pd.DataFrame, bad: pd.Series, message: str, column: str | None = None, *arguments: str
) -> None:
    """Raise for the first row where ``bad`` is true; ``{}`` in the message is the row's value of the column."""
    if bad.any():
        row = int(bad.to_numpy().argmax())
        value = table[column].iat[row] if column else ""
        named = message.replace("{}", shown(value) if isinstance(value, str) else str(value), 1)
        raise InputError(f"{path} line {table['line'].iat[row]}: {named}", *arguments)


def _numbers(path: Path | str, table: pd.DataFrame, column: str) -> pd.Series:
    """Return a column of text as finite numbers, missing where it is empty."""
    import pandas as pd

    text = table[column]
    number = pd.to_numeric(text.where(text.ne("")), errors="coerce").astype("float64")
    bad = text.ne("") & (number.isna() | number.abs().eq(float("inf")))
    _refuse(path, table, bad, column + " {} is not a number", column)
    return number


def each_value(column: pd.Series, change: Callable[[str], str | None]) -> pd.Series:
    """Return a column with few distinct values, each of them changed."""
    import pandas as pd

    codes, values = pd.factorize(column)
    changed = pd.Series([change(value) for value in values], dtype="str")
    return changed.take(codes).set_axis(column.index)


def _check_times(path: Path | str, table: pd.DataFrame) -> None:
    """Turn start and end into seconds."""
    for column in ("start", "end"):
        if column in table:
            seconds = _numbers(path, table, column)
            _refuse(path, table, seconds.lt(0), column + " {} is before the beginning of the file", column)
            table[column] = seconds
    if "end" in table:
        start = table["start"].fillna(0) if "start" in table else 0.0
        _refuse(path, table, table["end"].le(start), "the clip ends at {} s, not after its start", "end")


def _check_duplicates(path: Path | str, table: pd.DataFrame) -> None:
    import pandas as pd

    clip = [name for name in ("path", "start", "end") if name in table]
    pieces = (table[clip].iloc[first : first + PIECE] for first in range(0, len(table), PIECE))
    hashes = np.sort(
        np.concatenate([pd.util.hash_pandas_object(piece, index=False, categorize=False) for piece in pieces])
    )
    if (hashes[1:] != hashes[:-1]).all():  # comparing the clips themselves takes more memory than the whole table
        return
    again = table.duplicated(clip)
    if again.any():
        row = int(again.to_numpy().argmax())
        same = table[clip].eq(table[clip].iloc[row]) | (table[clip].isna() & table[clip].iloc[row].isna())
        first = table["line"].iat[int(same.all(axis=1).to_numpy().argmax())]
        name = table["path"].iat[row]
        raise InputError(
            f"{path} line {table['line'].iat[row]}: duplicate clip {short(str(name))}, first in line {first}"
        )


def _normalised_paths(path: Path | str, table: pd.DataFrame, allow_outside: bool) -> pd.Series:
    """Return the paths without ``./`` and ``//``, relative to the manifest's folder for what lies below it."""
    paths = table["path"]
    # Most paths are plain, which one search finds out; only the others are handled one by one.
    pieces = (paths.iloc[first : first + PIECE] for first in range(0, len(paths), PIECE))
    if not any(ODD_PATH.search("\n".join(piece.to_numpy())) for piece in pieces):
        return paths
    odd = paths.str.contains(ODD_PATH)
    _refuse(path, table, odd & paths.str.strip().eq(""), "the path is empty")
    folder = os.path.abspath(os.path.dirname(path))
    finds = f"{list_command(path)} finds its clips on this machine"
    windows = odd & paths.map(lambda name: bool(WINDOWS.match(name)) and not _exists(folder, name))
    _refuse(path, table, windows, "{} is a path of Windows: " + finds, "path")
    named = paths[odd].map(lambda name: _with_slashes(name, folder))
    straight = named.map(lambda name: os.path.relpath(os.path.join(folder, name), folder))
    outside = straight.str.match(r"\.\.(?:/|\\|$)")
    absolute = straight.map(lambda name: os.path.abspath(os.path.join(folder, name)))
    if not allow_outside and outside.any():
        gone = not os.path.exists(absolute[outside].iloc[0])
        hint = "{} is outside the manifest's folder; set allow_outside to true if you trust this file"
        moved = f"; if it is a path of another machine, {finds}" if gone else ""
        _refuse(path, table, _rows(paths, straight.index[outside]), hint + moved, "path", "allow_outside")
    paths = paths.copy()
    paths[odd] = straight.where(~outside, absolute)
    return paths


def _rows(column: pd.Series, index: pd.Index) -> pd.Series:
    """Return a column that is true in the given rows."""
    import pandas as pd

    return pd.Series(column.index.isin(index), index=column.index)


def _with_slashes(name: str, folder: str) -> str:
    """Return a relative path that was written on Windows with slashes; the name of a file here may hold a backslash."""
    return name if "\\" not in name or _exists(folder, name) else name.replace("\\", "/")


def _exists(folder: str, name: str) -> bool:
    try:
        return os.path.lexists(os.path.join(folder, name))
    except ValueError:  # a null byte
        return False
