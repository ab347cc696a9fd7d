"""Read the csv of a manifest: every mistake in it becomes an error that names the file and the line.

All checks run on whole columns, so that a manifest of a million rows is read in seconds. pandas is imported by what needs it.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from peclip.data.manifest.formats import RELATIVE, fold_columns, list_command
from peclip.data.manifest.lines import PIECE, read_table, refuse
from peclip.data.manifest.soft import mistakes, soft_columns
from peclip.errors import InputError, short
from peclip.labels import plain

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

ODD_PATH = re.compile(r"^\s*$|^/|\\|^[A-Za-z]:|(?:^|/)\.{0,2}(?:/|$)", re.MULTILINE)
"""A path that is empty, absolute, has a backslash, or a part that is empty, ``.`` or ``..``."""

UNSURE_PATH = re.compile(r"^\s|\s$|[^\x00-\x7f]", re.MULTILINE)
"""A path whose file may be spelt otherwise: one with a space at an end, or with other letters than those of ASCII."""

TOO_LARGE = 1e15
"""Number from which on a fold is refused: a float cannot distinguish all larger ones, and an integer cannot hold them."""

WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
"""Beginning of an absolute path of Windows: a drive, or a server."""


def parse_manifest(path: Path | str, labels_required: bool, allow_outside: bool) -> pd.DataFrame:
    """Read and check a manifest's csv.

    Returns:
        The columns of the csv, ``source`` (the file's name) and ``line`` (counted from 1); paths normalised.

    Raises:
        InputError: the file or a line of it is invalid.
    """
    table = read_table(path, labels_required)
    if table.empty:
        raise InputError(f"{path}: the manifest is empty, it has a header and no clip")
    if "label" in table:
        table["label"] = each_value(table["label"], str.strip)
        second_header = table["path"].isin(("path", "Path", "PATH")) & table["label"].isin(("label", "Label", "LABEL"))
        refuse(path, table, second_header, "a second header; were two files joined? keep one header")
        if labels_required:
            refuse(path, table, table["label"].eq(""), "the label is empty")
    table["path"] = _normalised_paths(path, table, allow_outside)
    if "split" in table:
        split = each_value(table["split"], lambda name: SPLITS.get(name.strip().lower()))
        refuse(path, table, split.isna(), "unknown split {}, expected train, val or test", "split")
        table["split"] = split
    if "fold" in table:
        fold = _numbers(path, table, "fold")
        refuse(path, table, fold.notna() & (fold.mod(1).ne(0) | fold.lt(0)), "fold {} is not a whole number", "fold")
        too_large = "fold {} is too large, expected a number of at most 15 digits"
        refuse(path, table, fold.ge(TOO_LARGE), too_large, "fold")
        table["fold"] = fold.astype("Int64")
    for name in fold_columns(table).values():
        role = each_value(table[name], lambda name: SPLITS.get(name.strip().lower()))
        refuse(path, table, role.isna(), name + " is {}, expected train, val, test, or nothing where unused", name)
        table[name] = role
    if "subject" in table:
        table["subject"] = each_value(table["subject"], plain)
    for name in soft_columns(table).values():
        table[name] = _numbers(path, table, name)
    for bad, message in mistakes(table):
        refuse(path, table, bad, message)
    _check_times(path, table)
    _check_duplicates(path, table)
    return table.assign(source=os.path.basename(path))


def _numbers(path: Path | str, table: pd.DataFrame, column: str) -> pd.Series:
    """Return a column of text as finite numbers, missing if empty."""
    import pandas as pd

    text = table[column]
    number = pd.to_numeric(text.where(text.ne("")), errors="coerce").astype("float64")
    bad = text.ne("") & (number.isna() | number.abs().eq(float("inf")))
    refuse(path, table, bad, f"{column} {{}} is not a number{_number_meant(text[bad], column)}", column)
    return number


def _number_meant(wrong: pd.Series, column: str) -> str:
    """Return advice on the first of some wrong values; an empty string if it is not clear what was meant."""
    first = wrong.iloc[0].strip() if len(wrong) else ""
    if re.fullmatch(r"-?\d+,\d+", first):
        return f": write {first.replace(',', '.')}"
    return ": expected seconds" if column in ("start", "end") and ":" in first else ""


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
            refuse(path, table, seconds.lt(0), column + " {} is before the beginning of the file", column)
            table[column] = seconds
    if "end" in table:
        start = table["start"].fillna(0) if "start" in table else 0.0
        refuse(path, table, table["end"].le(start), "the clip ends at {} s, not after its start", "end")


def _check_duplicates(path: Path | str, table: pd.DataFrame) -> None:
    import pandas as pd

    clip = [name for name in ("path", "start", "end") if name in table]
    pieces = (_from_0(table[clip].iloc[first : first + PIECE]) for first in range(0, len(table), PIECE))
    hashes = np.sort(
        np.concatenate([pd.util.hash_pandas_object(piece, index=False, categorize=False) for piece in pieces])
    )
    if (hashes[1:] != hashes[:-1]).all():  # comparing the clips themselves takes more memory than the whole table
        return
    clips = _from_0(table[clip])
    again = clips.duplicated()
    if again.any():
        row = int(again.to_numpy().argmax())
        same = clips.eq(clips.iloc[row]) | (clips.isna() & clips.iloc[row].isna())
        first = table["line"].iat[int(same.all(axis=1).to_numpy().argmax())]
        name = table["path"].iat[row]
        raise InputError(
            f"{path} line {table['line'].iat[row]}: duplicate clip {short(str(name))}, first in line {first}"
        )


def _from_0(clips: pd.DataFrame) -> pd.DataFrame:
    """Return clips of which those without a start begin at 0, as when they are read."""
    return clips.fillna({"start": 0.0}) if "start" in clips else clips


def _normalised_paths(path: Path | str, table: pd.DataFrame, allow_outside: bool) -> pd.Series:
    """Return the paths without ``./`` and ``//``, relative to the manifest's folder for what lies below it."""
    folder = os.path.abspath(os.path.dirname(path))
    paths = table["path"]
    if (unsure := _matching(paths, UNSURE_PATH)) is not None:
        paths = paths.mask(unsure, paths[unsure].map(lambda name: _as_there(name, folder, name)))
    if (odd := _matching(paths, ODD_PATH)) is None:
        return paths
    refuse(path, table, odd & paths.str.strip().eq(""), "the path is empty")
    command = list_command(path, columns=table.columns)
    finds = f"{command} finds its clips on this machine" if command else RELATIVE
    windows = odd & paths.map(lambda name: bool(WINDOWS.match(name)) and not _exists(folder, name))
    refuse(path, table, windows, "{} is a path of Windows: " + finds, "path")
    named = paths[odd].map(lambda name: _as_there(name, folder, name.replace("\\", "/")))
    straight = named.map(lambda name: os.path.relpath(os.path.join(folder, name), folder))
    outside = straight.str.match(r"\.\.(?:/|\\|$)")
    absolute = straight.map(lambda name: os.path.abspath(os.path.join(folder, name)))
    if not allow_outside and outside.any():
        gone = not os.path.exists(absolute[outside].iloc[0])
        hint = "{} is outside the manifest's folder; set allow_outside to true if you trust this file"
        moved = f"; if it is a path of another machine, {finds}" if gone else ""
        refuse(path, table, _rows(paths, straight.index[outside]), hint + moved, "path", "allow_outside")
    paths = paths.copy()
    paths[odd] = straight.where(~outside, absolute)
    return paths


def _rows(column: pd.Series, index: pd.Index) -> pd.Series:
    """Return a column that is true in the given rows."""
    import pandas as pd

    return pd.Series(column.index.isin(index), index=column.index)


def _matching(paths: pd.Series, pattern: re.Pattern[str]) -> pd.Series | None:
    """Return whether each path matches a pattern; None if no path does, which takes one search."""
    pieces = (paths.iloc[first : first + PIECE] for first in range(0, len(paths), PIECE))
    return paths.str.contains(pattern) if any(pattern.search("\n".join(piece.to_numpy())) for piece in pieces) else None


def _as_there(name: str, folder: str, missing: str) -> str:
    """Return a relative path as its file is called here, or ``missing`` if there is none.

    Windows writes backslashes, which the name of a file here may hold; some programs write a space behind each comma; and macOS
    decomposes letters that others compose.
    """
    slashes = name.replace("\\", "/")
    spellings = [slashes, slashes.strip()]
    spellings += [unicodedata.normalize(form, spellings[-1]) for form in ("NFC", "NFD")]
    others = [other for other in spellings if other not in ("", name)]
    if not others or _exists(folder, name):  # most names have one spelling, and the disk is not asked
        return name
    return next((other for other in others if _exists(folder, other)), missing)


def _exists(folder: str, name: str) -> bool:
    try:
        return os.path.lexists(os.path.join(folder, name))
    except ValueError:  # a null byte
        return False
