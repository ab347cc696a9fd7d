"""Read configurations from anyone: regular files of bounded size, and YAML that is neither deep, nor a bomb, nor ambiguous.

The keys of a configuration are names of options or labels, so they are text: ``1``, ``no`` and ``null`` too.
"""

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from peclip.errors import InputError, first_line

LIMIT = 2_000_000
"""Bytes of a configuration. That of a thousand classes with their texts has less than a fifth of it."""

DEPTH = 40
"""Levels of nesting. Those of peclip's own configurations have less than ten."""

NODES = 200_000
"""Values of a configuration, with what aliases repeat."""

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEXT, _MERGE, _TIME = (f"tag:yaml.org,2002:{name}" for name in ("str", "merge", "timestamp"))


class RefusedYAML(yaml.MarkedYAMLError):
    """YAML that a configuration may not contain."""


class Listed(list[Any]):
    """A list of a configuration, with the text of its items: where names are expected, ``no`` is a name.

    Attributes:
        texts: the items as they are written; items that are not scalars as in the list.
    """

    texts: list[Any]


class Loader(_Base):  # type: ignore[misc]
    """A safe loader for :func:`load`; the YAML is checked before anything is built of it.

    Raises:
        RefusedYAML: it is too deep or too large, or a key is a duplicate or not a name.
    """

    def __init__(self, stream: Any) -> None:
        text = stream.read() if hasattr(stream, "read") else stream
        _check(text)
        super().__init__(text)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Return a mapping whose keys are text."""
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                key.tag = _TEXT
        return super().construct_mapping(node, deep)

    def construct_list(self, node: Any) -> Iterator[Listed]:
        """Yield a list, then fill it, as PyYAML expects."""
        found = Listed()
        yield found
        found.extend(self.construct_sequence(node))
        pairs = zip(node.value, found, strict=True)
        found.texts = [item.value if isinstance(item, yaml.ScalarNode) else value for item, value in pairs]


# Numbers such as 1e-3 are numbers, dates are text.
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIME]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}
for each in (Loader, yaml.SafeDumper):  # what is written as text is read as text
    each.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)[eE][-+]?\d+$"),
        list("-+.0123456789"),
    )
Loader.add_constructor("tag:yaml.org,2002:seq", Loader.construct_list)
yaml.SafeDumper.add_representer(Listed, yaml.SafeDumper.represent_list)
# Lightning has defaults that are both text and members of an enumeration.
yaml.SafeDumper.add_multi_representer(str, lambda dumper, value: dumper.represent_str(str.__str__(value)))


def load(text: str) -> Any:
    """Return the content of YAML.

    Raises:
        yaml.YAMLError: it is not valid, or refused.
    """
    try:
        return yaml.load(text, Loader=Loader)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:  # errors of PyYAML, as of !!int a
        raise RefusedYAML(problem=f"a value is not what its tag says ({first_line(error)})") from error


def read_text(path: Path, what: str = "a YAML file") -> str:
    """Return the text of a regular file of at most :data:`LIMIT` bytes.

    Args:
        path: the file.
        what: name of the expected content, for the message.

    Raises:
        InputError: it cannot be read, is not a regular file, or is too large.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path}: not a regular file, expected {what}")
        with path.open("rb") as file:
            content = file.read(LIMIT + 1)
        if len(content) > LIMIT:
            raise InputError(f"{path} has more than {LIMIT:,} bytes: it is not {what} of options")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected {what}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not valid YAML, {first_line(error)}") from error


def read_yaml(path: Path, what: str = "a YAML file") -> Any:
    """Return the content of a YAML file.

    Args:
        path: the file.
        what: name of the expected content, for the message.

    Raises:
        InputError: it cannot be read or is not valid YAML; the message names the line.
    """
    text = read_text(path, what)
    try:
        return load(text)
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        invalid = "" if isinstance(error, RefusedYAML) else "not valid YAML, "
        raise InputError(f"{path}{line}: {invalid}{error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path}: not valid YAML, {first_line(error)}") from error


def read_configuration(path: Path) -> dict[str, Any]:
    """Return the options of a file.

    Raises:
        InputError: as :func:`read_yaml`, or it holds no options.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected options, such as name, trainer, model and data")
    return content


@dataclass
class _Open:
    """A list or mapping whose end has not been read.

    Attributes:
        anchor: name of it for aliases; None without one.
        keys: keys of a mapping, with their lines; None for a list.
        size: number of values in it.
        expects_key: whether a key comes next.
    """

    anchor: str | None
    keys: dict[str, int] | None
    size: int = 1
    expects_key: bool = field(init=False)

    def __post_init__(self) -> None:
        self.expects_key = self.keys is not None


def _check(text: str) -> None:
    """Check YAML while it is read, event by event: no memory is needed for what is refused.

    Raises:
        RefusedYAML: it is too deep or too large, or a key is a duplicate or not a name.
    """
    outer, sizes = [_Open(None, None)], dict[str, int]()
    for event in yaml.parse(text, Loader=_Base):
        here, size = outer[-1], 1
        if isinstance(event, yaml.CollectionStartEvent):
            _require(not here.expects_key, event, "a key is a list or a mapping, expected a name")
            _require(len(outer) <= DEPTH, event, f"nested deeper than {DEPTH} levels")
            outer.append(_Open(event.anchor, {} if isinstance(event, yaml.MappingStartEvent) else None))
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            closed = outer.pop()
            here, size = outer[-1], closed.size
            sizes |= {closed.anchor: size} if closed.anchor else {}
        elif isinstance(event, yaml.AliasEvent):
            anchor = event.anchor or ""
            _require(anchor in sizes, event, f"alias *{anchor} names nothing before it, or itself")
            size = sizes[anchor]
        elif isinstance(event, yaml.ScalarEvent):
            sizes |= {event.anchor: 1} if event.anchor else {}
            if here.keys is not None and here.expects_key:
                first = here.keys.get(event.value)
                _require(first is None, event, f"duplicate key {event.value!r}, first in line {first}")
                here.keys[event.value] = _line(event)
        else:
            continue
        here.size += size
        _require(here.size <= NODES, event, f"more than {NODES:,} values, with those that aliases repeat")
        here.expects_key = here.keys is not None and not here.expects_key


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _require(condition: bool, event: Any, problem: str) -> None:
    if not condition:
        raise RefusedYAML(problem=problem, problem_mark=event.start_mark)
