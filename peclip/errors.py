"""A user's mistake, reported in one line: the exception, and text that is safe to print."""

import re
import reprlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control and format characters except joiners, line separators, and halves of characters."""

LONGEST_REASON = 300
"""Characters of another library's message in one of peclip's."""


MOST_LISTED = 20
"""Names that a message lists; of more, it gives the number."""

LARGEST = 1e38
"""Numbers of options are at most so large: models compute in float32, which has infinity in place of ten times as much."""

INTERRUPTED = 130
"""Status of a process after Ctrl-C, as shells have it."""


class InputError(ValueError):
    """A user's mistake: the message is one line naming the file, line or key, what was expected and what to do.

    The command line prints the message without a traceback and exits with status 2; Python callers catch it as a
    ``ValueError``.

    Args:
        message: the line.
        arguments: the Python arguments that the message names, such as ``texts`` in "texts is missing 'bored'". The
            command line has longer names for them, see :func:`options_below`.
    """

    def __init__(self, message: str, *arguments: str) -> None:
        super().__init__(message)
        self.arguments = arguments


@contextmanager
def options_below(section: str) -> Iterator[None]:
    """Let errors about an argument name the option of the command line: ``texts`` becomes ``model.net.texts``.

    A value that the message advises is written as YAML has it: ``or None`` becomes ``or null``. An error that carries no
    argument passes unchanged. Sections may be nested, the inner one being the last part of the name.

    Args:
        section: the options to which the arguments belong, such as ``model.net``.

    Raises:
        InputError: the same error, with ``section`` before the first mention of each argument.
    """
    try:
        yield
    except InputError as error:
        if not error.arguments:
            raise
        message = str(error)
        for argument in error.arguments:
            message = re.sub(
                rf"(?<![\w./-]){re.escape(argument)}(?![\w/-]|\.\w)", f"{section}.{argument}", message, count=1
            )
        message = re.sub(r"\b(to|or) None\b", r"\1 null", message)
        raise InputError(message, *(f"{section}.{argument}" for argument in error.arguments)) from error


def check_choice(name: str, value: object, known: Iterable[str | None]) -> None:
    """Check an argument that has few values. The parser of the command has checked options; a Python caller is checked here.

    Raises:
        InputError: the value is another one.
    """
    values = [*known]
    if value not in values:
        raise InputError(f"{name} is {shown(value)}, expected one of {listed(map(str, values))}", name)


def check_not_negative(name: str, value: float) -> None:
    """Check an argument that must be at least 0, and finite in float32.

    Raises:
        InputError: it is another.
    """
    if not 0 <= value <= LARGEST:
        raise InputError(f"{name} is {value}, expected a number of at least 0 and at most {LARGEST:g}", name)


def in_one_line(error: Any) -> str:
    """Return the message of an error as one printable line.

    An error from a worker process arrives wrapped in that process' traceback, which ends with the message. Of another
    library's error the last line is the message. A name in it may hold line breaks, see :func:`printable`.
    """
    text = str(error).strip() or type(error).__name__
    if found := list(re.finditer(rf"^{re.escape(InputError.__module__)}\.{InputError.__name__}: ", text, re.MULTILINE)):
        text = text[found[-1].end() :]
    elif not isinstance(error, InputError):
        text = text.splitlines()[-1].strip()
    return printable(text)


def printable(text: str) -> str:
    r"""Return a text without characters that a terminal obeys or that hide others; they are shown as in ``\x1b``.

    These are control characters (escape sequences begin with one), line separators, marks that turn the direction of
    writing, and bytes of a name that are not UTF-8. Joiners, which some scripts need, stay.
    """
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, for libraries that explain at length; its type if it has none."""
    line = _lines(error)[0].strip()
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}..."


def shown(value: Any) -> str:
    """Return a value as a message shows it: on one line, and short, however much it holds."""
    text = " ".join(line.strip() for line in _SHORT.repr(value).split("\n"))
    return text if len(text) <= 80 else f"{text[:77]}..."


def short(name: str) -> str:
    """Return a name, and of a very long one its end, which says most."""
    return name if len(name) <= 200 else f"...{name[-197:]}"


def listed(names: Iterable[str]) -> str:
    """Return names as a message lists them: the first :data:`MOST_LISTED`, and the number of the others."""
    known = [*names]
    others = f" and {len(known) - MOST_LISTED:,} more" if len(known) > MOST_LISTED else ""
    return ", ".join(known[:MOST_LISTED]) + others


def counted(number: int, thing: str) -> str:
    """Return a number of things in words: ``1 clip``, ``2 clips``, ``3 classes``.

    Args:
        number: number of things.
        thing: name of one of them.
    """
    ending = "" if number == 1 else "es" if thing.endswith("s") else "s"
    return f"{number:,} {thing}{ending}"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 40


def _lines(error: Any) -> list[str]:
    return str(error).strip().splitlines() or [type(error).__name__]
