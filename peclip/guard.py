"""Guard a parser of jsonargparse: what a configuration names is imported and built only where an option asks for a class.

On its own the parser reads every string as YAML and as the name of a file, fetches addresses, instantiates what looks like a
class in arguments of any type, and calls functions. Its settings forbid some of it; the rest is decided here, for each value
and the type that is expected of it, before the parser imports anything. Nothing depends on where a value comes from: the
command line, the environment, a file, a second file, or text within text.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from inspect import getattr_static
from pathlib import Path
from typing import Any, Union

import yaml
from jsonargparse import _actions as actions
from jsonargparse import _loaders_dumpers as loaders
from jsonargparse import _typehints as types
from jsonargparse import set_parsing_settings
from jsonargparse._common import parsing_settings
from jsonargparse._optionals import _get_config_read_mode

from peclip.class_paths import (
    Problem,
    arguments_of,
    may_be,
    origin_of,
    path_of,
    problem_of_found,
    problem_of_option,
    problem_of_value,
)
from peclip.configuration import Listed, Loader, load, read_configuration, read_text
from peclip.errors import InputError, shown

_option: ContextVar[tuple[str, ...]] = ContextVar("option", default=())
"""The option that is being read: its name, and those of arguments inside of it."""

_default: ContextVar[Any] = ContextVar("default", default=None)
"""The default of that option."""

_refused: ContextVar[list["_Refused"]] = ContextVar("refused")
"""The values of that option that have been refused."""

_folder: ContextVar[Path] = ContextVar("folder", default=Path())
"""The folder of the configuration that is being read, from which it names a second file."""


@contextmanager
def guarded() -> Iterator[None]:
    """Guard all parsers of jsonargparse while the context lasts."""
    settings, mode = dict(parsing_settings), _get_config_read_mode()
    set_parsing_settings(
        instantiate_subclass_spec_in_any=False,
        config_read_mode_fsspec_enabled=False,
        config_read_mode_urls_enabled=False,
        import_path_denylist=sorted(name for name in sys.stdlib_module_names if name.isidentifier()),
    )
    kept = [getattr_static(place, name) for place, name, _, _ in HOOKS]
    loader = loaders.get_yaml_default_loader()
    try:
        vars(loaders)["yaml_default_loader"] = Loader
        for (place, name, make, _), before in zip(HOOKS, kept, strict=True):
            original = getattr(place, name)
            hook = wraps(original)(make(original))
            setattr(place, name, staticmethod(hook) if isinstance(before, staticmethod) else hook)
        yield
    finally:
        vars(loaders)["yaml_default_loader"] = loader
        for (place, name, _, _), before in zip(HOOKS, kept, strict=True):
            setattr(place, name, before)
        set_parsing_settings(config_read_mode_urls_enabled="u" in mode, config_read_mode_fsspec_enabled="s" in mode)
        parsing_settings.update(settings)


def options_in(value: str, section: str, folder: Path) -> dict[str, Any]:
    """Return the options of a section that are given as text: YAML, or the name of a file.

    Args:
        value: text of the options, or the name of a file.
        section: name of the section, for the message.
        folder: folder that the name of a file is relative to, if it is not in the working folder.

    Raises:
        InputError: it is neither.
    """
    if path := next((path for path in (folder / value, Path(value)) if _exists(path)), None):
        return read_configuration(path)
    try:
        found = load(value)
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict):
        raise InputError(f"{section} is {shown(value)}, expected options below it or the name of a file, or omit it")
    return found


class _Refused(ValueError):
    """A value is refused; the parser may find that another type of the same option accepts it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{'.init_args.'.join(_option.get())} {problem.text}: {problem.advice}")
        self.final = problem.final
        _refused.get([]).append(self)


def _value(adapt: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that parses a value as a type, which checks it before and after."""

    def value(val: Any, typehint: Any, *args: Any, **options: Any) -> Any:
        if options.get("serialize") or options.get("instantiate_classes"):
            return adapt(val, typehint, *args, **options)  # it was checked when it was parsed
        given = val
        if isinstance(val, Listed) and origin_of(typehint) is not Union:
            val = list(val.texts if {*arguments_of(typehint)} - {Ellipsis} == {str} else val)
        if problem := problem_of_value(val, typehint, _default.get()):
            raise _Refused(problem)
        parsed = adapt(val, typehint, *args, **options)
        if problem := problem_of_found(given, typehint, parsed):
            raise _Refused(problem)
        return parsed

    return value


def _named(check: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method that checks the value of an option, which knows its name and reads no file."""

    def named(self: Any, value: Any, append: bool = False, cfg: Any = None, mode: Any = None) -> Any:
        self._enable_path = False
        outer = _option.get()
        name, default = _option.set((*outer, self.dest)), _default.set(self.default)
        refused = _refused.set(_refused.get() if outer else [])
        try:
            checked = check(self, value, append=append, cfg=cfg, mode=mode)
            final = [each for each in _refused.get() if each.final]
            kept = isinstance(checked, str) and "class_path" in checked  # a class that was refused, as text
            if kept and (problem := problem_of_option(checked, self._typehint)):
                final = _refused.get() or [_Refused(problem)]
            if final and not outer:
                raise final[0]
            return checked
        except (TypeError, ValueError) as error:
            if not _refused.get() and (problem := problem_of_option(value, self._typehint)):
                _Refused(problem)
            if not outer and _refused.get():
                raise InputError(str(_refused.get()[0])) from error
            raise
        finally:
            _option.reset(name)
            _default.reset(default)
            _refused.reset(refused)

    return named


def _section(resolve: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method that reads the options of a section, which names no other class, and no file but a configuration."""

    def section(self: Any, value: Any) -> Any:
        if isinstance(value, str):
            value = options_in(value, self.dest, _folder.get())
        path = path_of(value)
        if path is not None and not (self.basetype and may_be(path, self.basetype)):
            raise InputError(f"{self.dest} names {shown(path)}, but has options alone: omit it")
        return resolve(self, value)

    return section


def _configuration(apply: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that reads a configuration: a regular file, or YAML that begins with a brace."""

    def configuration(parser: Any, cfg: Any, dest: str, value: str) -> None:
        path = None if value.lstrip().startswith("{") else _folder.get() / value
        here = _folder.set(path.parent if path else Path())
        try:
            apply(parser, cfg, dest, read_text(path) if path else value)
        except TypeError as error:
            raise error.__cause__ if isinstance(error.__cause__, InputError) else error from None
        finally:
            _folder.reset(here)

    return configuration


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # it is not the name of a file
        return False


HOOKS = (
    (types, "adapt_typehints", _value, "every value and the type that is expected of it, before anything is imported"),
    (types.ActionTypeHint, "_check_type", _named, "the name of the option; its value is not the name of a file"),
    (actions._ActionConfigLoad, "resolve_subclass_spec", _section, "a section has options, which may be in a file"),
    (actions.ActionConfigFile, "apply_config", _configuration, "a configuration is a regular file of bounded size"),
)
"""The private functions of jsonargparse that are replaced: owner, name, replacement and reason."""
