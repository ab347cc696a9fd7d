"""Decide which classes a value of a configuration may name, by the type that its option expects, before anything is imported."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from inspect import isclass, signature
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Union, get_type_hints

import yaml
from jsonargparse import Namespace
from jsonargparse import _typehints as types
from jsonargparse._common import is_subclasses_disabled
from jsonargparse._util import NestedArg, get_typehint_origin, import_object

from peclip.arguments import check
from peclip.configuration import load
from peclip.errors import InputError, first_line, shown

_CONTAINERS = types.sequence_or_mapping_origin_types | types.tuple_set_origin_types
_GIVEN = (str, dict, Namespace, NestedArg)
"""Forms of a value that a configuration or a command line can have; others have been parsed before."""

_IMPORTED = (ModuleType, *types.type_expression_types)
"""Types whose values are imported without being classes; no option of peclip needs them."""

_WEB = re.compile(r"\b(https?|ftp)://")


FIND = "install its package, or put its folder on PYTHONPATH, as in PYTHONPATH=. peclip fit"
"""Advice if Python does not find a module."""


OMIT = "omit it"
"""Advice if nothing better is known."""


ANNOTATE = f"{OMIT}, or if it is an argument of your own class annotate it there, as in net: PEClip"
"""Advice if any value is accepted, as for an argument without an annotation: what it is to be built of is not known."""


class Problem(NamedTuple):
    """A value that is refused.

    Attributes:
        text: end of the message, after the name of the option.
        final: whether it is refused even where another type of the option would accept it, such as text.
        advice: sentence on what the user can do.
    """

    text: str
    final: bool = False
    advice: str = OMIT


def problem_of_value(value: Any, expected: Any, default: Any) -> Problem | None:
    """Return why a value may not be parsed as a type; None if it may.

    Args:
        value: value as a configuration or a command line has it, or parsed before.
        expected: type of the option.
        default: default of the option; functions that are defaults are named like others.
    """
    origin = origin_of(expected)
    if Path in (expected, *arguments_of(expected)) and isinstance(value, str) and _WEB.search(value):
        return Problem(f"is the address {shown(value)}, expected a folder or file", final=True)
    if types.accepts_any_value(expected) or (origin in _CONTAINERS and not arguments_of(expected)):
        found = _class_in(value)
        return found and Problem(found.text, found.final, ANNOTATE if types.accepts_any_value(expected) else OMIT)
    if origin is Union:
        return None  # its types follow one by one
    if origin in types.mapping_origin_types and isinstance(value, dict | Namespace) and path_of(value):
        return Problem(_no_class(path_of(value)))
    if kinds := _classes(expected):
        return _problem_of_class(value, kinds)
    calls = origin in types.callable_origin_types or types.is_instance_factory_protocol(expected)
    if (calls or expected in _IMPORTED) and isinstance(value, _GIVEN) and value != default:
        return _function(path_of(value) or value)
    return None


def problem_of_found(value: Any, expected: Any, parsed: Any) -> Problem | None:
    """Return why a parsed value may not be built; None if it may. A function is refused, because it would be called."""
    if origin_of(expected) is Union or not isinstance(value, _GIVEN) or not _classes(expected):
        return None
    path = path_of(parsed)
    if isclass(parsed) or (path is not None and isclass(import_object(path))):
        return None
    return _function(path or parsed) if path is not None or callable(parsed) else None


def problem_of_option(value: Any, expected: Any) -> Problem | None:
    """Return why none of the classes that an option's value names, itself or in a list, is one that the option expects."""
    value, kinds = _read(value), types.get_subclass_types(expected, also_containers=True, callable_return=True)
    for path in _paths(value, expected) if kinds else ():
        names = " or ".join(dict.fromkeys(kind.__name__ for kind in kinds))
        if "." not in path:
            known = {*_subclasses(kinds)}
            if path not in known:
                text = f"names {shown(path)}, expected the import path of a subclass of {names}"
                return Problem(text, advice=_did_you_mean(path, known))
            continue
        try:
            found = import_object(path)
        except (ImportError, AttributeError, ValueError) as error:
            why = first_line(error)
            text = f"names {shown(path)}, which cannot be imported ({why}), expected a subclass of {names}"
            return Problem(text, advice=FIND if isinstance(error, ModuleNotFoundError) else _of_module(path))
        if not any(types.is_subclass_or_implements_protocol(found, kind) for kind in kinds):
            return Problem(f"names {shown(path)}, which is not a subclass of {names}")
    if kinds and isinstance(value, dict) and (own := path_of(value)):
        return Problem(
            _wrong_argument(own, value)
            or f"names {shown(own)} with {_unknown_argument(own, value) or 'arguments'} that it does not accept"
        )
    return None


def _subclasses(kinds: Iterable[type]) -> Iterator[str]:
    """Yield the names of some classes, and of the classes below them that have been imported."""
    for kind in kinds:
        yield kind.__name__
        yield from _subclasses(kind.__subclasses__())


def _of_module(path: str) -> str:
    """Return what to do about a name that its module, which has been imported, does not have."""
    module, _, name = path.rpartition(".")
    return _did_you_mean(name, dir(sys.modules.get(module)), f"{module}.")


def _did_you_mean(name: str, known: Iterable[str], module: str = "") -> str:
    close = get_close_matches(name, known, 1)
    return f"did you mean {module}{close[0]}?" if close else OMIT


def _unknown_argument(path: str, value: Mapping[str, Any]) -> str:
    """Return, in words, the first argument that a class does not have; nothing if it is another mistake."""
    given = value.get("init_args")
    try:
        known = signature(import_object(path)).parameters
    except (ImportError, AttributeError, ValueError, TypeError):  # a short name, or a class written in C
        return ""
    names = [name for name in given if name not in known] if isinstance(given, dict) else []
    return f"the argument {shown(names[0])}" if names else ""


def _wrong_argument(path: str, value: Mapping[str, Any]) -> str:
    """Return, in words, the first argument whose value is of another type than the class annotates; nothing if there is none."""
    given = value.get("init_args")
    try:
        kinds = get_type_hints(import_object(path))
        for name, each in (given if isinstance(given, dict) else {}).items():
            if name in kinds and path_of(each) is None:
                check(name, each, kinds[name])
    except InputError as error:
        return f"names {shown(path)}, whose {error}"
    except Exception:  # noqa: BLE001 - annotations of anyone, which need not be those of values
        return ""
    return ""


def _paths(value: Any, expected: Any) -> list[str]:
    """Return the import paths of classes that a value names, itself or in a list or mapping that is expected."""
    origins = {origin_of(each) for each in (expected, *arguments_of(expected))}
    several: Any = [value]
    if isinstance(value, list) and origins & types.sequence_origin_types:
        several = value
    elif isinstance(value, dict) and origins & types.mapping_origin_types:
        several = [value, *value.values()]
    return [path for path in map(path_of, several) if path and ("." in path or path.isidentifier())]


def path_of(value: Any) -> str | None:
    """Return the class that a value names; None if it names none."""
    if isinstance(value, NestedArg):
        value = value.val if value.key == "class_path" else None
    elif isinstance(value, dict | Namespace):
        value = value.get("class_path")
    return value if isinstance(value, str) else None


def may_be(path: str, kind: type) -> bool:
    """Return whether a path may name a class of a kind; of some kinds, such as dataclasses, there are no subclasses."""
    if is_subclasses_disabled(kind) and path != kind.__name__:
        return path.partition(".")[0] == kind.__module__.partition(".")[0] and not _is_program(path)
    return not _is_program(path)


def origin_of(expected: Any) -> Any:
    """Return a type without its arguments."""
    return get_typehint_origin(expected) or expected


def arguments_of(expected: Any) -> tuple[Any, ...]:
    """Return the arguments of a type."""
    found = getattr(expected, "__args__", ())
    return found if isinstance(found, tuple) else ()


def _classes(expected: Any) -> tuple[type, ...]:
    """Return the classes whose subclasses a type expects: as such, as objects, or as what a callable returns."""
    try:
        return _known_classes(expected)
    except TypeError:  # a type that cannot be hashed
        return _known_classes.__wrapped__(expected)


@lru_cache(1000)
def _known_classes(expected: Any) -> tuple[type, ...]:
    if origin_of(expected) is type:
        return tuple(filter(isclass, arguments_of(expected))) or (object,)
    return types.get_subclass_or_closed_types(expected, callable_return=True) or ()


def _problem_of_class(value: Any, kinds: tuple[type, ...]) -> Problem | None:
    further = _class_in(value.get("dict_kwargs")) if isinstance(value, dict | Namespace) else None
    if further or (path := path_of(value)) is None:
        return further
    if path.partition(".")[0] in sys.stdlib_module_names or _is_program(path):
        return Problem(f"names {shown(path)}, which cannot be an option of a training")
    if "." in path and not any(may_be(path, kind) for kind in kinds):
        return Problem(f"names {shown(path)}, but no other class can replace {kinds[0].__name__}")
    return None


def _is_program(path: str) -> bool:
    """Return whether importing a path would run a program, such as ``package.__main__``."""
    return any(name.startswith("__") for name in path.split("."))


def _class_in(value: Any) -> Problem | None:
    """Return the problem that a value, or one inside of it, names a class; None if none does."""
    if isinstance(value, NestedArg):
        value = {value.key: value.val}
    value = _read(value)
    if isinstance(value, dict | Namespace):
        entries = dict(vars(value) if isinstance(value, Namespace) else value)
        if "class_path" in entries:
            return Problem(_no_class(entries["class_path"]), final=True)
        value = list(entries.values())
    return next(filter(None, map(_class_in, value)), None) if isinstance(value, list | tuple) else None


def _read(value: Any) -> Any:
    """Return the value that a text stands for, such as YAML that names a class; any other value as it is."""
    try:
        return load(value) if isinstance(value, str) and ("class_path" in value or value[:1] in ("[", "{")) else value
    except yaml.YAMLError:
        return value


def _no_class(value: Any) -> str:
    return f"names {shown(value)}, but no class is expected here"


def _function(value: Any) -> Problem:
    name = shown(getattr(value, "__qualname__", value))
    return Problem(f"names {name}, but functions are not allowed in a configuration")
