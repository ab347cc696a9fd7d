"""The columns of a manifest's table and their types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from peclip import labels as vocabulary
from peclip.data.manifest.formats import fold_columns
from peclip.data.manifest.reader import each_value
from peclip.data.manifest.soft import soft_columns

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "path": "str",
    "label": "str",
    "split": "str",
    "fold": "Int64",
    "start": "float64",
    "end": "float64",
    "subject": "category",
    "source": "category",
    "line": "int64",
}
"""Columns of :attr:`Manifest.table` and their types; text is empty and numbers are missing if a row has none."""


def complete(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with all columns in their types, canonical labels and an index from 0."""
    import pandas as pd

    columns: dict[str, pd.Series[Any]] = {}
    kind: Any  # the stubs know every type by its own overload
    for name, kind in COLUMNS.items():
        if name not in table:
            missing = {"int64": 0, "str": "", "category": ""}.get(kind, float("nan"))
            columns[name] = pd.Series(missing, index=table.index, dtype=kind)
        elif kind in ("str", "category"):
            columns[name] = _text(_filled(table[name]), kind)
        else:
            columns[name] = table[name].astype(kind)
    for name in fold_columns(table).values():
        columns[name] = _text(_filled(table[name]), "category")
    for label, name in soft_columns(table).items():
        columns[f"p_{label}"] = table[name].astype("float32")
    if "label" in table:
        columns["label"] = each_value(columns["label"], vocabulary.canonical)
    return pd.DataFrame(columns, copy=False).reset_index(drop=True)


def rows(table: pd.DataFrame, which: pd.Series[bool]) -> pd.DataFrame:
    """Return the chosen rows of a complete table, which are as complete, with an index from 0."""
    import pandas as pd

    chosen = table[which].reset_index(drop=True)
    for name, values in chosen.items():
        if isinstance(values.dtype, pd.CategoricalDtype):  # the text of the other rows would go with them to workers
            chosen[name] = values.cat.remove_unused_categories()
    return chosen


def _filled(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return values with empty text for missing ones; pandas 2 cannot fill categories without that text, even with none missing."""
    return values.fillna("") if values.hasnans else values


def _text(values: pd.Series[Any], kind: Any) -> pd.Series[Any]:
    """Return values as compact text; as Python's own, which takes more memory, if names of files are not UTF-8."""
    import pandas as pd

    try:
        return values.astype("str").astype(kind)
    except UnicodeEncodeError:
        text = values.astype(pd.StringDtype("python", na_value=float("nan")))
        return text if kind == "str" else text.astype(kind)
