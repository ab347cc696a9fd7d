"""Tables of results, on the screen and in markdown, and how rates and times are written in them."""

import math
import sys
from collections.abc import Sequence

from rich.table import Table

from peclip.console import PlainConsole
from peclip.errors import counted, printable
from peclip.labels import MOST_CLASSES
from peclip.results.bootstrap import Interval
from peclip.results.evaluation import Metrics
from peclip.results.selection import optimism_notes
from peclip.terminal import say

Rows = tuple[list[str], list[list[str]]]
"""A header, and the cells of each row."""

UNNAMED = "model"
"""Stands for a model whose parts an older file does not name."""


def print_table(title: str, table: Rows) -> None:
    """Print a table whose first column is to the left and the others to the right, with a line below UAR."""
    shown = Table(title=title, title_justify="left")
    header, rows = table
    for index, column in enumerate(header):
        shown.add_column(column, justify="right" if index else "left", overflow="fold")
    for row in rows:
        shown.add_row(*row, end_section=row[0] == "UAR")
    PlainConsole().print(shown)


def markdown_table(table: Rows, numbers: bool = True) -> str:
    """Return a table in markdown.

    Args:
        table: header and rows.
        numbers: whether the columns after the first hold numbers, which are aligned to the right.
    """
    header, rows = table
    lines = [header, ["---", *["---:" if numbers else "---"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def print_metrics(metrics: Metrics) -> None:
    """Print the scores of an evaluation, and the notes that their readers need."""
    remarks = "; ".join(metrics.remarks)
    title = f"Results on {counted(metrics.scores.clips, f'{metrics.split} clip')}"
    print_table(f"{title} ({remarks})" if remarks else title, scores_table(metrics, "metrics.json"))
    if metrics.calibration:
        say(metrics.calibration)
    for note in optimism_notes(metrics.selection, metrics.split):
        say(note)


def scores_table(metrics: Metrics, file: str | None = None) -> Rows:
    """Return WAR, UAR and the recall of every class, beside those of bare CLIP if they are known.

    Args:
        metrics: scores of the evaluation.
        file: name of the file that has all recalls, for a table on the screen, see :func:`class_rows`; None for a page.
    """
    names, columns = [metrics.method or UNNAMED], [metrics.scores]
    if metrics.zero_shot:
        names.append("zero-shot CLIP")
        columns.append(metrics.zero_shot)
    rows = [
        ["WAR", *(percent(column.war) for column in columns)],
        ["UAR", *(percent(column.uar) for column in columns)],
    ]
    recalls = [
        [f"recall {label}", *(percent(one.per_class_recall.get(label)) for one in columns)]
        for label in metrics.scores.per_class_recall
    ]
    return ["", *names], [*rows, *class_rows(recalls, file)]


def class_rows(rows: list[list[str]], file: str | None) -> list[list[str]]:
    """Return the rows of the classes: one that names ``file``, if it is given, in place of more than :data:`MOST_CLASSES`."""
    if file is None or len(rows) <= MOST_CLASSES:
        return rows
    return [[f"recalls of {len(rows):,} classes: {file}", *[""] * (len(rows[0]) - 1)]]


def percent(rate: float | None) -> str:
    """Return a rate as tables show it."""
    return "no clip" if rate is None else f"{rate:.2%}"


def percent_interval(ends: Interval | None) -> str:
    """Return an interval of rates as tables show it, in percent."""
    return "" if ends is None else f"[{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"


def points(*changes: float) -> str:
    """Return a difference of rates, or the ends of an interval of one, in percentage points with their sign."""
    shown = ", ".join(f"{100 * change:+.2f}" for change in changes)
    return f"[{shown}]" if len(changes) > 1 else shown


def duration(seconds: float | None) -> str:
    """Return a time in hours, minutes and seconds; ``unknown`` if it is None, or a sum too large for a number."""
    if seconds is None or not math.isfinite(seconds):
        return "unknown"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def giga(number: float) -> str:
    """Return a number of operations in 10^9, to four digits, without an exponent; a file may state a larger one than a float."""
    if number >= sys.float_info.max:
        return "unknown"
    return f"{float(f'{number / 1e9:.4g}'):,.12g}"


def total(times: Sequence[float | None]) -> float | None:
    """Return the sum of times; None if one of them is unknown."""
    known = [time for time in times if time is not None]
    return sum(known) if len(known) == len(times) else None


def _cell(text: str) -> str:
    return printable(" ".join(text.split())).replace("|", "\\|")
