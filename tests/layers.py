"""Find imports between files of a package that break the order of its rooms, from the source alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT_NAMES = frozenset({"__version__"})
"""Modules of the root package that every room may import; its other names are those of the rooms above."""


@dataclass(frozen=True)
class Import:
    """An import statement, wherever it is: at the top, in a function or under TYPE_CHECKING.

    Attributes:
        file: that imports, relative to the folder of the package.
        line: of the statement.
        name: what it imports, with dots.
        target: the file of the package that is imported; None for another package.
    """

    file: str
    line: int
    name: str
    target: str | None

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.name}"


def read_imports(package: Path) -> list[Import]:
    """Return every import of every file of a package, but for what its root offers lazily from the rooms."""
    found = []
    for path in sorted(package.rglob("*.py")):
        file = str(path.relative_to(package))
        if file == "__init__.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found += [Import(file, line, name, _target(package, name)) for line, name in _names(package, path, node)]
    return found


def upward(imports: Sequence[Import], order: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each import of a room that is above, or beside, the one that imports.

    Args:
        imports: of a package.
        order: from the ground up, the rooms of each level: folders or files of the package, without a suffix.
    """
    level = {room: number for number, rooms in enumerate(order) for room in rooms}
    wrong = []
    for entry in imports:
        if entry.target is None:
            continue
        here, there = room_of(entry.file), room_of(entry.target)
        for room in (here, there):
            assert room in level, f"{room} has no place in the order of the rooms"
        if entry.target == "__init__.py" and entry.name.rpartition(".")[2] not in ROOT_NAMES:
            wrong.append(f"{entry}, which the root takes from above")
        elif level[there] > level[here]:
            wrong.append(f"{entry}, which is above")
        elif level[there] == level[here] > 0 and here != there:
            wrong.append(f"{entry}, which is beside")
    return wrong


def between(imports: Sequence[Import], room: str) -> set[str]:
    """Return the other rooms that the files of a room import."""
    return {room_of(entry.target) for entry in imports if entry.target and room_of(entry.file) == room} - {room}


def circle(imports: Sequence[Import]) -> list[str]:
    """Return files that import each other in a circle, the first one again at the end; empty where there is none."""
    try:
        TopologicalSorter(_graph(imports)).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def reaching(imports: Sequence[Import], rooms: Sequence[str], packages: Sequence[str]) -> list[str]:
    """Return a line for each import by which files of some rooms come to need one of some other packages."""
    graph, seen = _graph(imports), set()
    waiting = [file for file in {entry.file for entry in imports} if room_of(file) in rooms]
    while waiting:
        if (file := waiting.pop()) not in seen:
            seen.add(file)
            waiting += graph.get(file, ())
    return [str(entry) for entry in imports if entry.file in seen and entry.name.partition(".")[0] in packages]


def _graph(imports: Sequence[Import]) -> Mapping[str, set[str]]:
    graph: dict[str, set[str]] = {}
    for entry in imports:
        if entry.target not in (None, "__init__.py", entry.file):
            graph.setdefault(entry.file, set()).add(entry.target)
    return graph


def room_of(file: str) -> str:
    """Return the room of a file of a package: its first folder, or itself."""
    return Path(file).parts[0].removesuffix(".py")


def _names(package: Path, path: Path, node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and absolute name of each thing that a statement imports."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield node.lineno, alias.name
    elif isinstance(node, ast.ImportFrom):
        start = node.module or ""
        if node.level:
            above = path.relative_to(package.parent).parent.parts
            start = ".".join([*above[: len(above) - node.level + 1], *filter(None, [node.module])])
        for alias in node.names:
            yield node.lineno, f"{start}.{alias.name}"


def _target(package: Path, name: str) -> str | None:
    """Return the file that a name is found in; a name of a class or function is found in its module."""
    parts = name.split(".")
    if parts[0] != package.name:
        return None
    for length in range(len(parts), 0, -1):
        place = package.joinpath(*parts[1:length])
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file():
                return str(path.relative_to(package))
    return None
