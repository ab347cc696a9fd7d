"""Columns ``p_LABEL`` of a manifest: soft labels, a probability of every class for a clip, or nothing. They are recognized and checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from peclip.errors import InputError, shown
from peclip.labels import canonical

if TYPE_CHECKING:
    import pandas as pd

SOFT = re.compile(r"p_(.*\S)")
"""Columns with the probability of a class."""

ROUNDED = 5e-3
"""Difference from 1 that the sum of rounded probabilities may have; they are then divided by it."""


def soft_columns(names: Iterable[object]) -> dict[str, str]:
    """Return those columns that have the probability of a class, by the canonical name of the class."""
    return {canonical(match[1]): match[0] for name in names if (match := SOFT.fullmatch(str(name)))}


def check_classes(header: Sequence[str], where: str) -> None:
    """Check that no two columns are of one class.

    Raises:
        InputError: two are.
    """
    seen: dict[str, str] = {}
    for name in header:
        for label in soft_columns([name]):
            if label in seen:
                both = f"{shown(seen[label])} and {shown(name)}"
                raise InputError(f"{where}: columns {both} are of one class: keep one of them")
            seen[label] = name


def mistakes(table: pd.DataFrame) -> Iterator[tuple[pd.Series[bool], str]]:
    """Yield what may be wrong with probabilities: the rows, and a message about the first of them.

    Args:
        table: table whose columns ``p_LABEL`` are numbers, missing for an empty cell; without such columns nothing is wrong.
    """
    table = table[[*soft_columns(table).values()]]
    if table.columns.empty:
        return
    empty = table.isna()
    some = ~empty.all(axis=1)
    for name in table:
        wrong = table[name].lt(0) | table[name].gt(1 + ROUNDED)
        value = f"{table[name][wrong].iloc[0]:g}" if wrong.any() else ""
        yield wrong, f"{name} is {value}, expected a probability from 0 to 1: divide votes by their number"
        yield empty[name] & some, f"{name} is empty, but other classes of this clip have a probability; 0 says none"
    total = table.sum(axis=1)
    wrong = some & (total - 1).abs().gt(ROUNDED + 1e-6)
    value = f"{total[wrong].iloc[0]:.4g}" if wrong.any() else ""
    yield wrong, f"{table.columns[0]} to {table.columns[-1]} sum to {value}, expected 1"
