"""The words of messages, help texts and docstrings: the terms that readers know from PyTorch and Lightning."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PROSE = ("README.md", "Makefile", "pyproject.toml", "docs/*.md", "configs/**/*.yaml", "cluster/*", "notebooks/*.ipynb")

REPLACEMENTS = {
    r"\bgo(es|ing)? on\b": "resume, continue",
    r"\bstands? (there|already|twice)\b": "is a duplicate, exists",
    r"\bno whole\b": "is incomplete",
    r"\b(is|are|was|were|be) no numbers?\b": "is not finite",
    r"\b(told|tell|tells) (apart|from)\b": "distinguish",
    r"\btold\b": "reported",
    r"\bleft out\b|\bleft alone\b|\bleave (it|one|this|them)( of them)? (out|alone)\b": "skip, omit, keep",
    r"\btake (it|them) out\b": "omit, detach",
    r"\bkeepers?\b": "checkpoint callback, owner",
    r"\bat hand\b|\bl(ies|ie|ying) ready\b": "available",
    r"\bsums? (over|of) (the )?(tensors|weights|files?)\b": "digest",
    r"\bgive (another|the same|one of|ddp|bf16|data\.|model\.|trainer\.|--)": "set, use, accept",
    r"\btakes? (no )?(options|arguments)\b|\btakes other\b": "accept, have",
    r"\bdivided (over|among|between)\b": "sharded over",
    r"\bdealt\b": "distributed",
    r"\bdrawn (data|clips?|faces?|stills?|videos?|pictures?)\b": "synthetic, generated",
    r"\bParquet parts\b|\bparts of (a|the) prediction\b": "shards",
    r"\banew\b": "again",
    r"\b(what|who)ever\b": "the noun that is meant",
    r"\b(is )?no (YAML|JSON)\b": "not valid YAML",
    r"\bfor want of\b": "for lack of",
}
"""Expressions that no text of peclip may contain, and the words to use instead."""

OPENINGS = r"(What|How|Where|Whose|Why|Whether|When|Which|Of|For which|From|Someone|Something|Nothing)\b"
"""Words that do not begin a docstring: it begins with an imperative, or with the noun that it describes."""


def texts_of(source: str) -> Iterator[tuple[int, str, bool]]:
    """Yield every string of a Python file: its line, its text on one line, and whether it is a docstring."""
    tree = ast.parse(source)
    bodies = [node.body for node in ast.walk(tree) if isinstance(getattr(node, "body", None), list)]
    statements = [each for body in bodies for each in body if isinstance(each, ast.Expr)]
    docstrings = {id(each.value) for each in statements if isinstance(each.value, ast.Constant)}
    pieces = {id(piece) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for piece in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(each.value) if isinstance(each, ast.Constant) else "{}" for each in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in pieces:
            text = node.value
        else:
            continue
        yield node.lineno, " ".join(text.split()), id(node) in docstrings


def faults(text: str, docstring: bool = False) -> list[str]:
    """Return the expressions in a text that have to be replaced, each with its replacement."""
    found = [
        f"{match[0]!r}: write {words}"
        for pattern, words in REPLACEMENTS.items()
        if (match := re.search(pattern, text, re.IGNORECASE))
    ]
    if docstring and (match := re.match(OPENINGS, text)):
        found.append(f"a docstring that begins with {match[0]!r}: begin with an imperative or a noun")
    return found


def test_messages_help_texts_and_docstrings_use_the_common_terms():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {fault}"
        for path in sorted((ROOT / "peclip").rglob("*.py"))
        for line, text, docstring in texts_of(path.read_text(encoding="utf-8"))
        for fault in faults(text, docstring)
    ]
    assert not found, "\n".join(found)


def test_pages_configurations_and_notebooks_use_the_common_terms():
    paths = sorted(path for pattern in PROSE for path in ROOT.glob(pattern) if path.is_file())
    assert len(paths) > 20
    found = [
        f"{path.relative_to(ROOT)}:{line}: {fault}"
        for path in paths
        for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        for fault in faults(text)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ('raise InputError("the loss is no number")', "write is not finite"),
        ('raise InputError(f"{name} stands " f"there twice")', "write is a duplicate"),
        ('print(f"Going on in {folder}")', "write resume"),
        ('"""Sort clips.\n\n    Args:\n        data: for all at\n            hand.\n    """', "write available"),
        ('x = 1\n"""What is measured."""', "begins with 'What'"),
        ('def f():\n    """How clips are packed."""', "begins with 'How'"),
    ],
)
def test_a_planted_expression_is_found(code, says):
    found = [fault for _, text, docstring in texts_of(code) for fault in faults(text, docstring)]
    assert len(found) == 1
    assert says in found[0]


def test_ordinary_sentences_pass():
    for text in ("Return the left half of a clip", "Divide by the standard deviation", "A line drawn on the canvas"):
        assert not faults(text, docstring=True)
