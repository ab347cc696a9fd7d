"""Adapters and prompts as plain data: what a checkpoint stores to build them again."""

import importlib
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from inspect import isclass, signature
from typing import Any

import numpy as np
import torch
from torch import nn

from peclip.errors import InputError, short, shown

MOVED = ("peclip.model.adapters.", "peclip.model.prompts.")
"""Modules in which files of peclip 0.1.0 name adapters and prompts; they are public names of :mod:`peclip.model` now."""

_trusted: ContextVar[frozenset[str] | None] = ContextVar("trusted", default=frozenset())
"""The classes of other packages that files may name; None for all."""


@dataclass(frozen=True)
class Spec:
    """A class by its import path, with its arguments besides those that :class:`PEClip` supplies."""

    class_path: str
    init_args: dict[str, Any]


def describe(factory: Callable[..., nn.Module]) -> Spec:
    """Return the class and arguments behind a factory: a class, or a ``functools.partial`` of one.

    Raises:
        InputError: as :func:`class_of`; or no file could name the class, or hold an argument.
    """
    kind = class_of(factory)
    if "." in kind.__qualname__:
        raise InputError(
            f"{kind.__qualname__} cannot be saved: define the class at the top of a module, not inside something else"
        )
    arguments = factory.keywords if isinstance(factory, partial) else {}
    return Spec(
        _public_path(kind), {name: _plain(value, f"{kind.__name__}: {name}") for name, value in arguments.items()}
    )


def _plain(value: Any, name: str) -> Any:
    """Return an argument as a file holds it; scalars of numpy are numbers of Python.

    Raises:
        InputError: no file could hold it.
    """
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or type(value) in (bool, int, float, str) or isinstance(value, torch.dtype | set | frozenset):
        return value
    if isinstance(value, list | tuple):
        entries = [_plain(entry, name) for entry in value]
        return entries if isinstance(value, list) else tuple(entries)
    if isinstance(value, Mapping):
        return {_plain(key, name): _plain(entry, name) for key, entry in value.items()}
    raise InputError(
        f"{name} is {shown(value)}, which a package of peclip does not hold: expected numbers, text, lists or mappings of them"
    )


def completed(spec: Spec) -> Spec:
    """Return a spec by the present path of its class and with all arguments, the defaults among them; tuples as lists.

    Raises:
        InputError: as :func:`resolve`.
    """
    found = describe(resolve(spec, nn.Module))
    parameters = signature(resolve(found, nn.Module)).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    return Spec(found.class_path, with_lists(defaults | found.init_args))


def with_lists(value: Any) -> Any:
    """Return plain data as files hold them: lists in place of tuples."""
    if isinstance(value, list | tuple):
        return [with_lists(entry) for entry in value]
    return {key: with_lists(entry) for key, entry in value.items()} if isinstance(value, dict) else value


def as_json_text(value: Any) -> str:
    """Return an argument that JSON has no form for, such as ``torch.float32`` or a set, as text: ``default`` of ``json.dumps``.

    The entries of a set are sorted, because their order in Python differs from process to process.
    """
    if isinstance(value, set | frozenset):
        entries = ", ".join(sorted(map(repr, value)))
        return f"{{{entries}}}" if isinstance(value, set) else f"frozenset({{{entries}}})"
    return str(value)


def class_of(factory: Callable[..., nn.Module]) -> type[Any]:
    """Return the class behind a factory: a class, or a ``functools.partial`` of one.

    Raises:
        InputError: the factory is something else, such as a lambda, which no file could describe.
    """
    found: Any = factory
    if isinstance(factory, partial):  # the command line makes partial(instantiate, class, **arguments)
        found = next((part for part in (*factory.args, factory.func) if isclass(part)), factory)
    if not isclass(found):
        raise InputError(
            f"{shown(factory)} cannot be saved: expected a class or functools.partial(class, ...), which a checkpoint can name"
        )
    return found


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


@contextmanager
def trusting(named: Collection[str] = (), *, everything: bool = False) -> Iterator[None]:
    """Let files name classes of other packages than peclip while the context lasts.

    Args:
        named: the import paths of these classes, which the user has named as well.
        everything: any class.
    """
    before = _trusted.set(None if everything else frozenset(named))
    try:
        yield
    finally:
        _trusted.reset(before)


def check_import(class_path: str, kind: type) -> None:
    """Check that importing a class that a file names runs nothing that the user has not chosen.

    Raises:
        InputError: the path is not one, or importing its module might run anything: it is of another package, not imported
            yet, and the user neither trusts the file nor names the class, see :func:`trusting`.
    """
    names, trusted = class_path.split("."), _trusted.get()
    if len(names) < 2 or not all(name.isidentifier() for name in names):
        raise InputError(f"class_path is {short(class_path)!r}, expected an import path such as package.module.Class")
    module, top = class_path.rpartition(".")[0], names[0]
    if module in sys.modules:
        return
    if top in sys.stdlib_module_names or any(name.startswith("__") for name in names):
        raise InputError(f"class {class_path!r} is not {_a(kind)}")
    if top != "peclip" and trusted is not None and class_path not in trusted:
        raise InputError(
            f"class {class_path!r} is not part of peclip, and importing {module} may run anything: if you trust the model, "
            f"set --trust true, or in Python import {module} first"
        )


def _a(kind: type) -> str:
    name = kind.__name__
    return name if name.endswith("s") else f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


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
