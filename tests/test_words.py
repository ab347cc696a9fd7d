"""The words of messages, help texts and docstrings: the terms that readers know from PyTorch and Lightning."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PROSE = (
    *("*.md", "Makefile", "pyproject.toml", "docs/**/*.md", "configs/**/*.yaml", "cluster/*", "notebooks/*.ipynb"),
    *("examples/*.yaml", "examples/*.mjs"),
)

REPLACEMENTS = {
    r"\b(go(es|ing)?|went) on\b": "resume, continue",
    r"\bstands? (there|already|twice)\b": "is a duplicate, exists",
    r"\bno whole\b": "is incomplete",
    r"\b(is|are|was|were|be) no numbers?\b": "is not finite",
    r"\b(told|tell|tells|telling)( \w+)? from\b|\b(told|tell|tells|telling)( \w+){0,3} apart\b": "distinguish",
    r"(\b|_)told\b": "reported",
    r"\b(left|leav\w+)( [\w.-]+){0,3} (out|alone)\b": "skip, omit, keep",
    r"\b(tak(e|es|ing|en)|took)( \w+)? out\b": "omit, detach",
    r"\bkeepers?\b": "checkpoint callback, owner",
    r"\bat hand\b|\bl(ies|ie|ying) ready\b": "available",
    r"\bsums? (over|of) (the )?(tensors|weights|files?)\b": "digest",
    r"\bgive (another|the same|one of|ddp|bf16|data\.|model\.|trainer\.|--)": "set, use, accept",
    r"(: |, or )give (the|all|another|an?|that|its) ": "set, use",
    r"\btakes? (no )?(options|arguments)\b|\btakes (other\b|with --)": "accept, have",
    r"\bdivided by (commas|semicolons|tabs)\b": "separated",
    r"\bdivided (over|among|between)\b": "sharded over",
    r"\bdealt\b": "distributed",
    r"\bdrawn (data|clips?|faces?|stills?|videos?|pictures?)\b": "synthetic, generated",
    r"\bParquet parts\b|\bparts of (a|the) prediction\b": "shards",
    r"\banew\b": "again",
    r"\b(what|who)ever\b": "the noun that is meant",
    r"\b(is )?no (YAML|JSON)\b": "not valid YAML",
    r"\bfor want of\b": "for lack of",
    r"recognis": "recognize, as the commands and the code have it",
    r"\b(what|which|one that|clip|face|it) (comes|came) to\b": "ends with",
    r"\banybody may\b": "public",
}
"""Expressions that no text of peclip may contain, and the words to use instead."""

OPENINGS = r"(What|How|Where|Whose|Why|Whether|When|Which|Who|Of|That of|Those|There|For which|From|Someone|Something|Nothing)\b"
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


def comments_of(source: str) -> Iterator[tuple[int, str]]:
    """Yield every comment of a Python file: its first line, and its text on one line with those of the lines below."""
    found: list[tuple[int, str]] = []
    below = None
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            words = token.string.lstrip("#: ")
            if token.start == below:
                line, text = found.pop()
                found.append((line, f"{text} {words}"))
            else:
                found.append((token.start[0], words))
            below = (token.start[0] + 1, token.start[1])
    yield from found


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


@pytest.mark.parametrize("folder", ["peclip", "tests", "tools", "benchmarks", "examples", "notebooks"])
def test_messages_help_texts_docstrings_and_comments_use_the_common_terms(folder):
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        if path == Path(__file__):
            continue
        source = path.read_text(encoding="utf-8")
        texts = [*texts_of(source), *((line, text, False) for line, text in comments_of(source))]
        found += [
            f"{path.relative_to(ROOT)}:{line}: {fault}"
            for line, text, docstring in texts
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
        ('raise InputError("show: omit it, or leave both options out")', "write skip, omit"),
        ('raise InputError(f"{name}: unknown: give the labels in order")', "write set"),
        ("x = 1  # it goes on to the caller", "write resume"),
        ("# the methods, whose packages\n# tell them apart\nx = 1", "write distinguish"),
    ],
)
def test_a_planted_expression_is_found(code, says):
    found = [fault for _, text, docstring in texts_of(code) for fault in faults(text, docstring)]
    found += [fault for _, text in comments_of(code) for fault in faults(text)]
    assert len(found) == 1
    assert says in found[0]


def test_ordinary_sentences_pass():
    for text in ("Return the left half of a clip", "Divide by the standard deviation", "A line drawn on the canvas"):
        assert not faults(text, docstring=True)
