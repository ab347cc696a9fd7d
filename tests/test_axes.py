"""Axes are rearranged by einops, which names them, where the method is: not by calls whose meaning is in their numbers."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import peclip

PLACES = ("model", "data/augment.py", "inference")

CALLS = {
    "permute",
    "transpose",
    "swapaxes",
    "swapdims",
    "movedim",
    "moveaxis",
    "view",
    "reshape",
    "unflatten",
    "rollaxis",
}

EXCEPTIONS = {
    ("model/backbones/layers.py", "unflatten"): "einops remembers types, and compiled blocks would be compiled again",
}
"""Calls that stay, by file and name, and the reason."""


def found_in(file: str, text: str) -> Iterator[tuple[str, str, int]]:
    """Yield file, name and line of each call that rearranges axes, and of each transpose that is not one of these two:

    an operand of a matrix product, whose letters say what is multiplied; or columns that an assignment unpacks.
    """
    tree = ast.parse(text)
    plain = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            plain |= {node.left, node.right}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "matmul":
            plain |= {*node.args}
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
            plain.add(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS:
            yield file, node.func.attr, node.lineno
        elif isinstance(node, ast.Attribute) and node.attr in ("T", "mT") and node not in plain:
            yield file, node.attr, node.lineno


def test_axes_are_rearranged_by_einops():
    root = Path(peclip.__file__).parent
    files = [path for place in PLACES for path in (sorted((root / place).rglob("*.py")) or [root / place])]
    found = [
        each for path in files for each in found_in(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
    ]
    assert [f"{file}:{line} {name}" for file, name, line in found if (file, name) not in EXCEPTIONS] == []
    assert {each[:2] for each in found} >= {*EXCEPTIONS}


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("x.permute(1, 2, 0)", ["permute"]),
        ("torch.permute(x, (1, 0))", ["permute"]),
        ("np.array(x).reshape(2, -1)", ["reshape"]),
        ("y = 2 * x.T", ["T"]),
        ("y = x @ z.mT", []),
        ("y = torch.matmul(x, z.mT)", []),
        ("a, b = x.T", []),
        ("y = rearrange(x, 'a b -> b a')", []),
    ],
)
def test_planted_calls_are_found(line, names):
    assert [name for _, name, _ in found_in("a.py", line)] == names
