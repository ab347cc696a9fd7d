"""Parsers of the training commands are built once a process: building one takes as long as reading a command line with it.

Their defaults are computed once, too: that is a quarter of reading a command line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import pytest

if TYPE_CHECKING:
    from lightning.pytorch.cli import LightningArgumentParser

    from peclip.train.private_hooks import HookedCLI

BUILDER = "peclip.train.private_hooks"
"""The module of the command line that builds its parser."""

FINDER = ("jsonargparse._subcommands", "jsonargparse._core")
"""The module that finds the option of a name, and the other that asks it."""

NAMER = ("jsonargparse._util", "jsonargparse.typing")
"""The module that finds the import path of a class, which it searches for, and the other that asks it at every value."""

BUILT = ("parser", "_subcommand_parsers", "_subcommand_method_arguments")
"""Attributes of a command line that building sets."""


@contextmanager
def built_once() -> Iterator[None]:
    """Let command lines that would build the same parser share one, which each gets as it was built."""
    with pytest.MonkeyPatch.context() as patch:
        if BUILDER in sys.modules:
            kind = sys.modules[BUILDER].HookedCLI
            patch.setattr(kind, "setup_parser", _once(kind.setup_parser))
            found = _found_once(sys.modules[FINDER[0]].find_action_and_subcommand)
            for user in FINDER:
                patch.setattr(f"{user}.find_action_and_subcommand", found)
            named = _named_once(sys.modules[NAMER[0]].get_import_path)
            for user in NAMER:
                patch.setattr(f"{user}.get_import_path", named)
            kind = sys.modules[FINDER[1]].ArgumentParser
            patch.setattr(kind, "get_defaults", _defaults_once(kind.get_defaults))
        yield


def _once(build: Callable[..., None]) -> Callable[..., None]:
    known: dict[str, tuple[dict[str, Any], list[list[str]]]] = {}

    def setup(cli: HookedCLI, *args: Any) -> None:
        key = _options_of(cli, args)
        if key not in known:
            build(cli, *args)
            known[key] = {name: getattr(cli, name) for name in BUILT}, [[*each.callback_keys] for each in _parsers(cli)]
        built, callbacks = known[key]
        vars(cli).update(built)
        for parser, keys in zip(_parsers(cli), callbacks, strict=True):  # what the last command has changed
            parser.callback_keys, parser._instantiators = [*keys], None

    return setup


def _found_once(find: Callable[..., Any]) -> Callable[..., Any]:
    """Return what finds the option of a name, which reading a command line does thousands of times among hundreds of options."""
    known: WeakKeyDictionary[Any, tuple[int, dict[object, Any]]] = WeakKeyDictionary()

    def found(parser: Any, name: str, exclude: Any = None) -> Any:
        if getattr(parser, "_subcommands_action", None):  # whose options are those of other parsers
            return find(parser, name, exclude)
        count, names = known.get(parser, (0, {}))
        if count != len(parser._actions):  # it is still being built
            count, names = known[parser] = len(parser._actions), {}
        if (name, exclude) not in names:
            names[name, exclude] = find(parser, name, exclude)
        return names[name, exclude]

    return found


def _named_once(name: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
    known: WeakKeyDictionary[type, str | None] = WeakKeyDictionary()

    def named(value: Any) -> str | None:
        if not isinstance(value, type):
            return name(value)
        if value not in known:
            known[value] = name(value)
        return known[value]

    return named


def _defaults_once(compute: Callable[..., Any]) -> Callable[..., Any]:
    """Return what gives the defaults of a parser, as long as its options have the same ones."""
    from jsonargparse._common import lenient_check
    from jsonargparse._namespace import recreate_branches

    known: WeakKeyDictionary[Any, dict[object, tuple[list[Any], Any]]] = WeakKeyDictionary()

    def defaults(parser: Any, *args: Any, **options: Any) -> Any:
        if parser.default_config_files:
            return compute(parser, *args, **options)
        key = (lenient_check.get(), args, tuple(options.items()))
        now = [(action.dest, action.default) for action in parser._actions]
        before, found = known.setdefault(parser, {}).get(key, ([], None))
        if len(before) != len(now) or any(
            name != other or value is not same for (name, value), (other, same) in zip(before, now, strict=True)
        ):
            found = compute(parser, *args, **options)
            known[parser][key] = now, found
        return recreate_branches(found)

    return defaults


def _options_of(cli: HookedCLI, args: tuple[Any, ...]) -> str:
    """Return what a parser depends on: the classes, and the options that it is built with."""
    defaults = {name: value for name, value in cli.trainer_defaults.items() if name != "callbacks"}
    kinds = (type(cli), cli.model_class, cli.datamodule_class, cli.trainer_class, cli.parser_class)
    types = cli.trainer_class.__init__.__annotations__  # a test has others
    return repr((kinds, types, cli.only, cli.subclass_mode_model, cli.seed_everything_default, defaults, args))


def _parsers(cli: HookedCLI) -> list[LightningArgumentParser]:
    return [cli.parser, *cli._subcommand_parsers.values()]
