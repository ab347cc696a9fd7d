"""The console of tables and progress bars; lines are printed by :func:`peclip.terminal.say`."""

from typing import IO, Any

from rich.console import Console
from rich.text import Text

from peclip.errors import printable


class PlainConsole(Console):
    """A console that shows strings as they are: ``[...]`` is no markup, nothing is highlighted, control characters are named.

    Args:
        error: write to stderr.
        file: write to this file instead.
        width: in characters; by default that of the terminal.
    """

    def __init__(self, error: bool = False, file: IO[str] | None = None, width: int | None = None) -> None:
        super().__init__(stderr=error, file=file, width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **style: Any) -> Text:
        """Return a string as text; line breaks in it stay."""
        return super().render_str("\n".join(map(printable, text.split("\n"))), **style)
