"""Adapters and prompts as plain data: what a checkpoint stores to build them again."""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from inspect import isclass, signature
from pathlib import Path
from typing import Any

from torch import nn

from peclip.errors import InputError

MOVED = ("peclip.model.adapters.", "peclip.model.prompts.")
"""Modules in which files of peclip 0.1.0 name adapters and prompts; they are public names of :mod:`peclip.model` now."""


@dataclass(frozen=True)
class Spec:
    """A class by its import path, with its arguments besides those that :class:`PEClip` supplies."""

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
            f"{factory!r} cannot be saved: expected a class or functools.partial(class, ...), which a checkpoint can name"
        )
    return Spec(_public_path(found), arguments)


def resolve(spec: Spec, kind: type[nn.Module]) -> Callable[..., nn.Module]:
    """Return the factory that a spec describes.

    Raises:
        InputError: the path does not name a class of that kind, or the class has other arguments. A spec from a stranger's file
            can therefore name nothing else.
    """
    module, _, name = _present(spec.class_path).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"class {spec.class_path!r} cannot be imported: install the package that defines it"
        ) from error
    if not (isclass(found) and issubclass(found, kind)):
        raise InputError(f"class {spec.class_path!r} is not {_a(kind)}")
    try:
        signature(found).bind_partial(**spec.init_args)
    except TypeError as error:
        raise InputError(f"class {spec.class_path!r} of this peclip has other arguments: {error}") from error
    return partial(found, **spec.init_args)


def check_import(class_path: str, kind: type) -> None:
    """Check that importing a class that a file names runs nothing but an installed package.

    Raises:
        InputError: the path is not one; its module would run a program, or is a file in the working folder, which may have
            come with the file that names it.
    """
    names = class_path.split(".")
    if len(names) < 2 or not all(name.isidentifier() for name in names):
        raise InputError(f"class_path is {class_path!r}, expected an import path such as package.module.Class")
    module = class_path.rpartition(".")[0]
    top = module.partition(".")[0]
    if module in sys.modules:
        return
    if top in sys.stdlib_module_names or any(part.startswith("__") for part in module.split(".")):
        raise InputError(f"class {class_path!r} is not {_a(kind)}")
    if top == "peclip":
        return
    found = find_spec(top)
    places = [found.origin, *(found.submodule_search_locations or ())] if found else []
    here = Path.cwd()
    if any(place and Path(place).resolve().is_relative_to(here) and "site-packages" not in place for place in places):
        raise InputError(
            f"class {class_path!r} is defined in the working folder: a file may name only classes that are installed or "
            f"already imported; import {module} first, or install it"
        )


def _a(kind: type) -> str:
    return f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"


def _public_path(kind: type) -> str:
    """Return the shortest path by which a class can be imported: where a package re-exports it, that of the package."""
    names = kind.__module__.split(".")
    for length in range(1, len(names) + 1):
        package = sys.modules.get(".".join(names[:length]))
        if package is not None and vars(package).get(kind.__qualname__) is kind:
            return f"{package.__name__}.{kind.__qualname__}"
    return f"{kind.__module__}.{kind.__qualname__}"


def _present(class_path: str) -> str:
    """Return the present path of a class that a file names by one of :data:`MOVED`."""
    for prefix in MOVED:
        if class_path.startswith(prefix):
            return f"peclip.model.{class_path.removeprefix(prefix)}"
    return class_path
