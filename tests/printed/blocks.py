"""The code blocks of README.md, CONTRIBUTING.md and docs/, and the command lines in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]

TRIED = ("bash", "python", "yaml")
"""Languages of the blocks that are tried."""

SHOWN = ("text", "csv", "bibtex")
"""Languages of the blocks that only show something."""

FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        page: its file, below the root of the repository.
        number: of the block in the page, from 1.
        language: bash, python, yaml or what it shows.
        text: its content.
    """

    page: str
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}-{self.number}"


@dataclass(frozen=True)
class Line:
    """A command line as it is printed.

    Attributes:
        variables: those that are set before the command.
        words: the command and its arguments.
        patterns: those of the words that a shell replaces by the names of files.
    """

    variables: tuple[tuple[str, str], ...]
    words: tuple[str, ...]
    patterns: frozenset[str]

    def __str__(self) -> str:
        return shlex.join([*(f"{name}={value}" for name, value in self.variables), *self.words])


def blocks(language: str) -> list[Block]:
    """Return the blocks of a language, in the order of the pages; with ``""`` all of them."""
    found = [
        Block(str(page.relative_to(ROOT)), number, *match.groups())
        for page in PAGES
        for number, match in enumerate(FENCE.finditer(page.read_text(encoding="utf-8")), 1)
    ]
    return [block for block in found if language in ("", block.language)]


def is_script(block: Block) -> bool:
    """Return whether the lines of a bash block belong together, as where one sets a variable that another one uses."""
    return "$(" in block.text


def lines() -> list[Line]:
    """Return the command lines of all bash blocks, each once."""
    found = (line for block in blocks("bash") if not is_script(block) for line in _lines_in(block.text))
    return [*dict.fromkeys(found)]


def _lines_in(text: str) -> Iterator[Line]:
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        raw = shlex.shlex(line, posix=False, punctuation_chars=False)
        raw.whitespace_split = True
        patterns = frozenset(word for word in raw if "*" in word and word[0] not in "'\"")
        count = next(place for place, word in enumerate(words) if not re.match(r"[A-Z_]+=", word))
        variables = tuple((name, value) for name, _, value in (word.partition("=") for word in words[:count]))
        yield Line(variables, tuple(words[count:]), patterns)
