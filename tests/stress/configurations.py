"""Writes configurations in which a class or a function stands where it may not, and keeps those that have any effect.

Every argument of every class that a configuration may name (Lightning's, torch's and peclip's), and every option of peclip,
is set to a *canary* in some form: a mapping, text of one, an item of a list or of a mapping, a path alone, the name of a file,
or an address. A configuration is then accepted, or refused in one line; and the canary is never called, no module is
imported unless its type asks for a class, and no address is fetched. `python -m tests.stress.configurations --seconds 600 --seed 0` prints the figures of
docs/testing.md.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import random
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from jsonargparse import ArgumentParser
from jsonargparse._common import parser_context
from jsonargparse._typehints import get_subclass_types
from lightning.fabric.plugins import CheckpointIO, ClusterEnvironment
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import LayerSync, Precision
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy
from torch.optim.lr_scheduler import LRScheduler

from peclip.errors import InputError
from peclip.guard import guarded
from peclip.model import Adapter, MaPLe
from peclip.train.cli.command import command
from peclip.train.several import FitOptions

KINDS: dict[str, tuple[type, ...]] = {
    "trainer.logger": (Logger,),
    "trainer.callbacks": (Callback,),
    "trainer.profiler": (Profiler,),
    "trainer.strategy": (Strategy,),
    "trainer.accelerator": (Accelerator,),
    "trainer.plugins": (Precision, ClusterEnvironment, CheckpointIO, LayerSync),
    "model.loss": (torch.nn.Module,),
    "model.optimizer": (torch.optim.Optimizer,),
    "model.lr_scheduler": (LRScheduler,),
    "model.net.prompts": (MaPLe,),
    "model.net.adapters": (Adapter,),
}
"""Options that name classes, and their kinds."""

PACKAGES = ("lightning", "torch", "peclip")

LIKELY = {int: 1, float: 0.5, str: "x", bool: True}
"""Values of required arguments by type."""

SECONDS = 20
"""Time that reading a configuration may take."""


@dataclass
class Canary:
    """A class and a function that note when they are called; a module, a file and an address that note when they are read.

    Attributes:
        calls: what has happened.
        module: name of the module, which can be imported.
        file: a configuration that names the class.
        address: of the same.
    """

    module: str
    file: Path
    address: str
    calls: list[str] = field(default_factory=list)

    def happened(self, may_be_imported: bool) -> str | None:
        """Return the first thing that has happened since the last call of this method; None if nothing has."""
        if sys.modules.pop(self.module, None) and not may_be_imported:
            self.calls.append("imported")
        calls, self.calls[:] = list(self.calls), []
        return calls[0] if calls else None


CALLS: list[str] = []


class Alive:
    """A class that notes its calls."""

    def __init__(self, *args: Any, **options: Any) -> None:
        CALLS.append("called")


def alive(*args: Any, **options: Any) -> Alive:
    """Note a call."""
    return Alive()


@contextmanager
def canary(folder: Path) -> Iterator[Canary]:
    """Yield a canary that lives in a folder."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            CALLS.append(f"fetched {self.path}")
            self.send_error(404)

        do_HEAD = do_POST = do_PUT = do_OPTIONS = do_GET

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    module = f"canary_{os.getpid()}"
    (folder / f"{module}.py").write_text("class Canary:\n    def __init__(self, *args, **options): pass\n")
    file = folder / "canary.yaml"
    file.write_text(yaml.safe_dump({"class_path": f"{__name__}.Alive"}))
    sys.path.insert(0, str(folder))
    try:
        yield Canary(module, file, f"http://127.0.0.1:{server.server_port}/canary.yaml", CALLS)
    finally:
        sys.path.remove(str(folder))
        server.shutdown()
        server.server_close()


def forms(bird: Canary) -> dict[str, Any]:
    """Return the forms of a canary, by name."""
    here, there = f"{__name__}.Alive", f"{bird.module}.Canary"
    specs = {"here": {"class_path": here}, "there": {"class_path": there, "init_args": {"x": 1}}}
    found: dict[str, Any] = {
        "path": here,
        "function": f"{__name__}.alive",
        "function of Python": "os.getcwd",
        "class of Python": {"class_path": "subprocess.Popen", "init_args": {"args": "true"}},
        "text of one of Python": '{"class_path": "subprocess.Popen", "init_args": {"args": ["true"]}}',
        "file": str(bird.file),
        "address": bird.address,
        "class at an address": {"class_path": bird.address},
        "chained address": f"filecache::{bird.address}",
    }
    for name, spec in specs.items():
        inner = {"class_path": here, "init_args": {"x": spec}}
        found |= {
            f"mapping {name}": spec,
            f"text {name}": json.dumps(spec),
            f"YAML {name}": yaml.safe_dump(spec),
            f"item {name}": [spec],
            f"text in a list {name}": [json.dumps(spec)],
            f"entry {name}": {"a": spec},
            f"text in a mapping {name}": {"a": json.dumps(spec)},
            f"text in text {name}": json.dumps(json.dumps(spec)),
            f"nested {name}": inner,
            f"further arguments {name}": {"dict_kwargs": {"a": spec}},
        }
    return found


@cache
def classes(option: str) -> list[type]:
    """Return the classes that an option may name, by their paths."""
    waiting, found = list(KINDS[option]), set[type]()
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__.partition(".")[0] in PACKAGES and "<" not in kind.__qualname__:
            found.add(kind)
    return sorted((kind for kind in found if not inspect.isabstract(kind)), key=_path)


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


@cache
def _arguments(kind: type) -> dict[str, bool]:
    """Return the arguments of a class as a configuration can set them, and whether their type expects a class."""
    parser = ArgumentParser(exit_on_error=False)
    try:
        parser.add_class_arguments(kind, "x", fail_untyped=False)
    except (AttributeError, TypeError, ValueError):  # no configuration can name it
        return {"x": False}
    actions = {each.dest.removeprefix("x."): each for each in parser._actions if each.dest.startswith("x.")}
    return {name: _expects_class(action) for name, action in actions.items()} or {"x": False}


def _expects_class(action: Any) -> bool:
    """Return whether an argument expects a class, which may then be one of any package, and is imported."""
    kinds = get_subclass_types(getattr(action, "_typehint", None), also_containers=True, callable_return=True)
    return bool(kinds) or "type[" in str(getattr(action, "_typehint", ""))


def _required(kind: type) -> dict[str, Any]:
    parameters = inspect.signature(kind).parameters.values()
    needed = [each for each in parameters if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD]
    return {each.name: LIKELY.get(each.annotation, "x") for each in needed}


class Reader:
    """Reads configurations as ``peclip fit`` does, and builds the objects that they name."""

    def __init__(self, base: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "base.yaml"
            path.write_text(yaml.safe_dump(base))
            self._parser = command(FitOptions, ["fit", "--config", str(path)]).parser
        self._fit = self._parser._subcommands_action._name_parser_map["fit"]
        self._base = base
        self.options = {each.dest: _expects_class(each) for each in self._fit._actions if hasattr(each, "_typehint")}

    def read(self, option: str, value: Any, on_the_command_line: bool = False) -> str:
        """Return ``accepted`` or ``refused`` for a configuration whose option has a value.

        Raises:
            Exception: of any other kind: a user would see a traceback.
        """
        args = ["--config", json.dumps(self._base)]
        if on_the_command_line:
            args.append(f"--{option}={value if isinstance(value, str) else json.dumps(value)}")
        else:
            part = value
            for name in reversed(option.split(".")):
                part = {name: part}
            args += ["--config", json.dumps(part)]
        with guarded():
            try:
                options = self._parser.parse_args(["fit", *args]).fit
                self._fit.dump(options)  # as a run saves it
                self._build(option, options)
            except InputError as error:
                return "refused" if "\n" not in str(error) else f"refused in more than one line: {error}"
        return "accepted"

    def _build(self, option: str, options: Any) -> None:
        """Build the object of an option alone: model and data would take seconds."""
        action = next((each for each in self._fit._actions if each.dest == option), None)
        if not hasattr(action, "instantiate_classes"):
            return
        with parser_context(parent_parser=self._fit), suppress(Exception):  # PEClipCLI reports it in one line
            action.instantiate_classes(deepcopy(options[option]))


class Case(NamedTuple):
    """A configuration: an option with its value, where it is, the form of its canary, and whether a class is expected there."""

    form: str
    option: str
    value: Any
    on_the_command_line: bool
    expects_class: bool


def cases(draw: random.Random, reader: Reader, bird: Canary) -> Iterator[Case]:
    """Yield random configurations."""
    birds = forms(bird)
    while True:
        form, option, there = draw.choice(list(birds)), draw.choice([*KINDS, "an option"]), draw.random() < 0.3
        if option == "an option":
            option = draw.choice(list(reader.options))
            yield Case(form, option, birds[form], there, reader.options[option])
            continue
        kind = draw.choice(classes(option))
        name = draw.choice(list(_arguments(kind)))
        given = birds[form] if form.startswith("further") else {"init_args": {name: birds[form]}}
        value: Any = {"class_path": _path(kind), **given, "init_args": _required(kind) | given.get("init_args", {})}
        if option == "trainer.callbacks" or (option == "trainer.logger" and draw.random() < 0.3):
            value = [value]
        elif option == "model.net.adapters":
            value = {"vision.mlp": value}
        yield Case(form, option, value if draw.random() < 0.9 else json.dumps(value), there, _arguments(kind)[name])


def fuzz(seconds: float, seed: int, base: dict[str, Any], most: int | None = None) -> tuple[list[str], Counter[str]]:
    """Read configurations for some seconds.

    Args:
        seconds: how long.
        seed: of the configurations.
        base: a configuration that is complete.
        most: configurations, at most.

    Returns:
        What any of them did, and how many were accepted and refused.
    """
    found, counts, draw, reader = list[str](), Counter[str](), random.Random(seed), Reader(base)
    end = time.monotonic() + seconds
    with (
        tempfile.TemporaryDirectory() as folder,
        chdir(folder),
        canary(Path(folder)) as bird,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        for case in cases(draw, reader, bird):
            start = time.monotonic()
            if start > end or sum(counts.values()) == most:
                return found, counts
            try:
                outcome = reader.read(case.option, case.value, case.on_the_command_line)
            except Exception as error:  # noqa: BLE001 - a user would see a traceback
                outcome = f"{type(error).__name__}: {error}"
            happened = bird.happened(case.expects_class)
            if happened or outcome not in ("accepted", "refused") or time.monotonic() - start > SECONDS:
                found.append(f"{happened or outcome}: {case}")
            counts[outcome if outcome in ("accepted", "refused") else "failed"] += 1
    raise AssertionError("cases never end")


def main(arguments: list[str] | None = None, write: Callable[[str], None] = print) -> int:
    """Print figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    base = {"data": {"manifest": "clips.csv"}, "trainer": {"accelerator": "cpu"}}
    found, counts = fuzz(given.seconds, given.seed, base)
    for line in found:
        write(line)
    write(f"{sum(counts.values()):,} configurations: {dict(counts)}; {len(found)} did anything else")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
