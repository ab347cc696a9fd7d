"""Printing of lines: names from files, options and strangers' runs are shown, and the terminal does not obey them."""

import sys

from peclip.errors import printable


def say(*lines: object, error: bool = False) -> None:
    """Print lines as they are, except for characters that a terminal would obey; see :func:`peclip.errors.printable`.

    Args:
        lines: each is printed on a line of its own.
        error: print to stderr.
    """
    print(*(printable(str(line)) for line in lines), sep="\n", file=sys.stderr if error else sys.stdout, flush=True)
