"""Tables of results, on the screen and in markdown, and how rates and times stand in them."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], end_section: str = "") -> None:
    """Print a table whose first column is to the left and the others to the right, with a line below one row."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(header):
        table.add_column(column, justify="right" if index else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row), end_section=row[0] == end_section)
    Console().print(table)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column is to the left and the others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def percent(rate: float | None) -> str:
    """Return a rate as it stands in tables."""
    return "no clip" if rate is None else f"{rate:.2%}"


def percent_interval(ends: Sequence[float] | None) -> str:
    """Return an interval of rates as it stands in tables, in percent."""
    return "" if ends is None else f"[{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"


def points(change: float | Sequence[float] | None) -> str:
    """Return a difference of rates, or an interval of one, in percentage points with its sign."""
    if change is None:
        return ""
    if isinstance(change, float):
        return f"{100 * change:+.2f}"
    return f"[{', '.join(f'{100 * end:+.2f}' for end in change)}]"


def duration(seconds: float | None) -> str:
    """Return a time in hours, minutes and seconds; None where nobody took it."""
    if seconds is None:
        return "unknown"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
