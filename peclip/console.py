"""The console of tables and progress bars; lines are printed by :func:`peclip.terminal.say`."""

from typing import IO, TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from peclip.errors import printable

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn


class PlainConsole(Console):
    """A console that shows strings as they are: ``[...]`` is no markup, nothing is highlighted, control characters are named.

    Args:
        error: write to stderr.
        file: write to this file instead.
        width: width in characters; by default that of the terminal.
    """

    def __init__(self, error: bool = False, file: IO[str] | None = None, width: int | None = None) -> None:
        super().__init__(stderr=error, file=file, width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **style: Any) -> Text:
        """Return a string as text; line breaks in it stay."""
        return super().render_str("\n".join(map(printable, text.split("\n"))), **style)


def progress_bars(*columns: "str | ProgressColumn") -> "Progress":
    """Return progress bars on stderr, which vanish at their end; nothing, not even an empty line, if stderr is not a terminal.

    Args:
        columns: columns of a bar; by default those of rich.
    """
    from rich.progress import Progress

    console = PlainConsole(error=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
