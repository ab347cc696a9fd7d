"""Adapters and prompts as plain data: what a checkpoint stores to build them again."""

import importlib
import sys
from collections.abc import Callable
from functools import partial
from inspect import isclass, signature
from typing import Any, TypedDict

from torch import nn

from peclip.errors import InputError

MOVED = ("peclip.model.adapters.", "peclip.model.prompts.")
"""Modules in which files of peclip 0.1.0 name the parts; they are public names of :mod:`peclip.model` now."""


class Spec(TypedDict):
    """A class by import path and the arguments it takes besides the widths."""

    class_path: str
    init_args: dict[str, Any]


def describe(factory: Callable[..., nn.Module]) -> Spec:
    """Return the class and arguments behind a factory: a class, or a ``functools.partial`` of one.

    Raises:
        InputError: the factory is something else, such as a lambda, which no file could describe.
    """
    arguments: dict[str, Any] = {}
    found: Any = factory
    if isinstance(factory, partial):  # the command line makes partial(instantiate, class, **arguments)
        arguments = dict(factory.keywords)
        found = next((part for part in (*factory.args, factory.func) if isclass(part)), factory)
    if not isclass(found):
        raise InputError(
            f"adapter factory {factory!r}: expected a class or functools.partial(class, ...), which a checkpoint can name"
        )
    return {"class_path": _public_path(found), "init_args": arguments}


def resolve(spec: Spec, kind: type[nn.Module]) -> Callable[..., nn.Module]:
    """Return the factory that a spec describes.

    Raises:
        InputError: the path names no class of that kind, or one that takes other arguments. A spec from a stranger's file
            can so name nothing else.
    """
    module, _, name = _present(spec["class_path"]).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"class {spec['class_path']!r} cannot be imported: install the package that defines it"
        ) from error
    if not (isclass(found) and issubclass(found, kind)):
        raise InputError(f"class {spec['class_path']!r} is not a {kind.__name__}")
    try:
        signature(found).bind_partial(**spec["init_args"])
    except TypeError as error:
        raise InputError(f"class {spec['class_path']!r} of this peclip takes other arguments: {error}") from error
    return partial(found, **spec["init_args"])


def _public_path(kind: type) -> str:
    """Return the shortest path by which a class can be imported: where a package re-exports it, that of the package."""
    parts = kind.__module__.split(".")
    for length in range(1, len(parts) + 1):
        package = sys.modules.get(".".join(parts[:length]))
        if package is not None and vars(package).get(kind.__qualname__) is kind:
            return f"{package.__name__}.{kind.__qualname__}"
    return f"{kind.__module__}.{kind.__qualname__}"


def _present(class_path: str) -> str:
    """Return the present path of a class that a file names by one of :data:`MOVED`."""
    for prefix in MOVED:
        if class_path.startswith(prefix):
            return f"peclip.model.{class_path.removeprefix(prefix)}"
    return class_path
