"""Read JSON from outside into frozen dataclasses whose fields are checked, and write them back."""

import types
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from peclip.errors import InputError, first_line, shown
from peclip.files import read_regular_text
from peclip.json_text import parse_json

Record = TypeVar("Record")

NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "a list",
    dict: "an object",
}
"""Types of fields, as messages name what JSON holds."""


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the content of a JSON file that holds an object; None if there is no file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        found = parse_json(read_regular_text(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is damaged: it holds no object")
    return found


def from_json(kind: type[Record], content: Any, source: str) -> Record:
    """Build a dataclass from a JSON object. Every field is checked against its type; unknown names are ignored.

    Args:
        kind: the dataclass. Its fields are of str, int, float, bool, None, ``Literal``, tuples, dicts by str, further
            dataclasses, and unions of these.
        content: the object.
        source: file of the object, for messages.

    Raises:
        InputError: a field is missing or has a value of another type, or the dataclass refuses the value.
    """
    if not isinstance(content, dict):
        raise InputError(f"{source} is {shown(content)}, expected an object")
    hints = get_type_hints(kind)
    values = {}
    for field in fields(kind):  # type: ignore[arg-type]  # a dataclass
        if not field.compare:  # the field is computed, and not in files
            continue
        if field.name in content:
            values[field.name] = _value(hints[field.name], content[field.name], f"{source}: {field.name}")
        elif _is_required(field):
            raise InputError(f"{source} lacks {field.name}")
    try:
        return kind(**values)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _value(hint: Any, value: Any, where: str) -> Any:
    """Return a value as the type of its field has it: a list becomes a tuple, an object a dataclass.

    Raises:
        InputError: it is of another type.
    """
    kind, args = get_origin(hint) or hint, get_args(hint)
    if kind is Any:
        return value
    if kind in (Union, types.UnionType):
        choices = [choice for choice in args if choice is not types.NoneType]
        is_plain = type(value) in choices or (value is None and types.NoneType in args)
        several = [choice for choice in choices if get_origin(choice) is tuple] if isinstance(value, list) else []
        return value if is_plain else _value((several or choices)[0], value, where)
    if (type(value) is kind and not args) or (kind is Literal and value in args):
        return value
    if kind is dict and isinstance(value, dict):
        return {name: _value(args[1], item, f"{where} {name}") for name, item in value.items()}
    if kind is tuple and isinstance(value, list) and (args[-1] is Ellipsis or len(args) == len(value)):
        return tuple(_value(args[0], item, where) for item in value)
    if is_dataclass(kind):
        return from_json(kind, value, where)  # type: ignore[arg-type]  # it is a type
    if kind is float and type(value) is int and abs(value) < 2**63:
        return float(value)
    expected = " or ".join(map(repr, args)) if kind is Literal else NAMES[kind]
    raise InputError(f"{where} is {shown(value)}, expected {expected}")
