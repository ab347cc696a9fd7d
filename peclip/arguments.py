"""Check the arguments of calls from Python against their annotations: one line in place of an error from somewhere within.

The parser of the command line has checked options; what it passes on passes here as well.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import cache, wraps
from inspect import Parameter, signature
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Literal, NamedTuple, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from peclip.errors import InputError, shown

P = ParamSpec("P")
R = TypeVar("R")

NUMBERS = {int: Integral, float: Real}
"""Types that accept the numbers of NumPy, too; :func:`python_value` turns these into numbers of Python."""

LISTS = (list, Sequence)


class Mismatch(NamedTuple):
    """A value that is not of its type.

    Attributes:
        place: place of the value within the argument, such as ``['vision.mlp']``; empty for the argument itself.
        value: value that was found.
        expected: description of the values that are expected.
    """

    place: str
    value: object
    expected: str


def checked(*own: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that checks the arguments of every call of a function.

    If the function expects text, a path becomes text; if it expects a number, one of NumPy becomes one of Python.

    Args:
        own: names of arguments that the function checks itself, in words that say more.

    Raises:
        InputError: in a call, an argument is not of its type.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        known = signature(function)
        names = [name for name, each in known.parameters.items() if each.annotation is not Parameter.empty]
        types = cache(lambda: _types(function, names))  # late: annotations may name what is defined below

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                given = known.bind(*args, **kwargs)
            except TypeError:  # Python's own message names the argument that is missing or unknown
                return function(*args, **kwargs)
            for name, kind in types().items():
                if name in own or name not in given.arguments:
                    continue
                value = given.arguments[name]
                several = {kind, *get_args(kind)} if get_origin(kind) in (None, Union, UnionType) else set()
                if isinstance(value, os.PathLike) and str in several and Path not in several:
                    given.arguments[name] = os.fspath(value)
                else:
                    check(name, value, kind)
                    given.arguments[name] = python_value(value) if several & NUMBERS.keys() else value
            return function(*given.args, **given.kwargs)

        return call

    return decorate


def _types(function: Callable[..., Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the types of arguments, but those of packages that type checkers alone import."""
    found: dict[str, Any] = {}
    for name in names:
        alone = SimpleNamespace(__annotations__={name: function.__annotations__[name]})
        with suppress(NameError):
            found |= get_type_hints(alone, function.__globals__)
    return found


def check(name: str, value: object, kind: Any) -> None:
    """Check the value of an argument.

    Args:
        name: name of the argument.
        value: value of the argument.
        kind: annotation of the argument.

    Raises:
        InputError: it is of another type, or something inside of it is.
    """
    if found := _mismatch(value, kind, ""):
        raise InputError(f"{name}{found.place} is {shown(found.value)}, expected {found.expected}", name)


def check_fields(made: Any) -> None:
    """Check the fields of a frozen dataclass that is being made, and turn their numbers into those of Python.

    Raises:
        InputError: as :func:`check`.
    """
    for name, kind in get_type_hints(type(made)).items():
        check(name, getattr(made, name), kind)
    keep_plain(made)


def keep_plain(made: Any) -> None:
    """Turn the numbers in the fields of a frozen dataclass that is being made into those of Python, see :func:`python_value`."""
    for field in fields(made):
        object.__setattr__(made, field.name, python_value(getattr(made, field.name)))


def python_value(value: Any) -> Any:
    """Return a number of NumPy, or a tensor of one number, as a number of Python, and any other value as it is.

    A checkpoint that holds a number of NumPy cannot be read again, for reading it safely allows plain data and tensors alone.
    """
    if getattr(value, "ndim", None) == 0:
        value = value.item()
    for kind, numbers in NUMBERS.items():
        if isinstance(value, numbers) and not isinstance(value, bool):
            return kind(value)
    return value


def _mismatch(value: object, kind: Any, place: str) -> Mismatch | None:
    """Return the first mismatch, or None. Unknown types always match."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        found = [_mismatch(value, each, place) for each in arguments]
        inside = [each for each in found if each and each.place != place]
        return None if None in found else next(iter(inside), Mismatch(place, value, _words(kind)))
    if not _is_of(value, kind, origin, arguments):
        return Mismatch(place, value, _words(kind))
    for key, part, expected in _parts(value, origin, arguments):
        if found_inside := _mismatch(part, expected, f"{place}{key}"):
            return found_inside
    return None


def _is_of(value: object, kind: Any, origin: Any, arguments: tuple[Any, ...]) -> bool:
    """Return whether a value is of a type, without what is inside of it."""
    outer = origin or kind
    if outer is Literal:
        return isinstance(value, str | int) and value in arguments
    if outer in NUMBERS:
        return isinstance(value, NUMBERS[outer]) and not isinstance(value, bool)
    if outer is Path:
        return isinstance(value, os.PathLike)
    if outer is tuple and (not arguments or Ellipsis in arguments):
        return isinstance(value, list | tuple)
    if outer is tuple:
        return isinstance(value, list | tuple) and len(value) == len(arguments)
    if outer in LISTS:
        return isinstance(value, Sequence) and not isinstance(value, str | bytes)
    if outer in (dict, Mapping):
        return isinstance(value, Mapping)
    if outer is Iterable:
        return isinstance(value, Iterable) and not isinstance(value, str | bytes)
    if outer is Callable:
        return callable(value)
    return outer is Any or not isinstance(outer, type) or isinstance(value, outer)


def _parts(value: Any, origin: Any, arguments: tuple[Any, ...]) -> Iterable[tuple[str, Any, Any]]:
    """Yield place, value and type of what is inside of a value that has parts."""
    if origin in LISTS and arguments:
        yield from ((f"[{number}]", part, arguments[0]) for number, part in enumerate(value))
    elif origin is tuple:
        kinds = arguments[:1] * len(value) if Ellipsis in arguments else arguments
        yield from ((f"[{number}]", part, each) for number, (part, each) in enumerate(zip(value, kinds, strict=True)))
    elif origin in (dict, Mapping) and arguments:
        for key, part in value.items():
            yield ": a key", key, arguments[0]
            yield f"[{shown(key)}]", part, arguments[1]


def _words(kind: Any) -> str:
    """Return a type in words, such as ``a dict, or None``."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(_words, arguments)))
    if origin is Literal:
        return f"{'one of ' * (len(arguments) > 1)}{', '.join(map(str, arguments))}"
    if kind is NoneType:
        return "None"
    if origin is tuple:
        return f"{len(arguments)} values" if Ellipsis not in arguments else "a tuple"
    if origin in LISTS:
        inside = getattr(arguments[0], "__name__", "") if arguments and get_origin(arguments[0]) is None else ""
        return f"a list of {inside}" if inside else "a list"
    outer: Any = origin or kind
    names: dict[Any, str] = {Callable: "callable", Mapping: "dict"}
    name = names.get(outer) or str(getattr(outer, "__name__", outer))
    return f"{'an' if name[0] in 'AEIOUaeio' else 'a'} {name}"
