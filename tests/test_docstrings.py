"""The entries of docstrings, such as those of Args: each begins with the noun that it describes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "peclip"

ROOMS = ("*.py", *sorted(f"{room.name}/**/*.py" for room in PACKAGE.iterdir() if any(room.rglob("*.py"))))

SECTIONS = ("Args:", "Attributes:")
OTHER_SECTIONS = ("Returns:", "Raises:", "Yields:", "Example:", "Examples:", "Note:")

NO_NOUN = re.compile(
    r"(\*{0,2}\w+|``[^`]+``)( \([^)]*\))?: (of|that|where|by|as|which|for|in|from|to|with|when|whose|on)\b",
    re.IGNORECASE,
)
"""An entry that describes a thing without naming it, as in ``seed: of the draws``."""


def entries_without_a_noun(docstring: str) -> Iterator[str]:
    """Yield the first line of each entry that begins without a noun."""
    is_inside = False
    for line in docstring.splitlines():
        words = line.strip()
        if words in (*SECTIONS, *OTHER_SECTIONS):
            is_inside = words in SECTIONS
        elif is_inside and line != words and NO_NOUN.match(words):
            yield words


def docstrings_of(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the docstring of a module, and of each of its classes and functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""


@pytest.mark.parametrize("room", ROOMS)
def test_entries_begin_with_the_noun_that_they_describe(room):
    paths = sorted(PACKAGE.glob(room))
    assert paths
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {entry}"
        for path in paths
        for line, docstring in docstrings_of(path.read_text(encoding="utf-8"))
        for entry in entries_without_a_noun(docstring)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("entry", ["seed: of the draws.", "names (C,): where they are.", "**options: for the reader."])
def test_an_entry_without_a_noun_is_found(entry):
    code = f'def draw():\n    """Draw clips.\n\n    Args:\n        clips: clips of a run.\n        {entry}\n    """'
    assert [found for _, docstring in docstrings_of(code) for found in entries_without_a_noun(docstring)] == [entry]


def test_errors_and_entries_with_a_noun_pass():
    text = "Draw.\n\nArgs:\n    seed: seed of the draws.\n    on: whether to.\n\nRaises:\n    InputError: as for the class.\n"
    assert list(entries_without_a_noun(text)) == []
