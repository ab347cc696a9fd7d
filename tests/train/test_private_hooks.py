"""Private names of Lightning and torch on which peclip stands."""

import ast
import inspect
import pkgutil
import re
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn

import peclip
from peclip.train.private_hooks import HOOKS, NAMES, SETTINGS, average_exactly


@pytest.mark.parametrize("path", HOOKS)
def test_every_private_hook_is_still_there(path):
    module, _, name = path.partition(":")
    assert callable(attrgetter(name)(import_module(module)))


@pytest.mark.parametrize("path", NAMES)
def test_every_private_name_that_other_rooms_use_is_still_there(path):
    module, _, name = path.partition(":")
    *owner, last = name.split(".")
    thing = attrgetter(".".join(owner))(import_module(module)) if owner else import_module(module)
    # Attributes of objects may be declared by annotations, or set when an object is made.
    assert hasattr(thing, last) or re.search(
        rf"^ +(self\.)?{last}(: .*| = .*)$", inspect.getsource(thing), re.MULTILINE
    )


def test_every_private_name_of_another_library_is_listed():
    listed = {*HOOKS, *SETTINGS, *NAMES}
    known = listed | {path.replace(":", ".").rpartition(".")[2] for path in listed} | {"_dynamo", "_functorch"}
    texts = {path.name: path.read_text() for path in Path(peclip.__path__[0]).rglob("*.py")}
    own = {name for text in texts.values() for name in OWN.findall(text)}
    used = {
        (file, name)
        for file, text in texts.items()
        for name in {*PRIVATE.findall(IMPORT.sub("", text))} - own
        if file != "private_hooks.py"
    }
    used |= {
        (file, name) for file, text in texts.items() if HIDDEN.search(text) for name in _of_modules(ast.parse(text))
    }
    for place in (("forking.py", "_forkserver"), ("guard.py", "jsonargparse._typehints:adapt_typehints")):
        assert place in used
    assert {(file, name) for file, name in used if name not in known} == set()


@pytest.mark.parametrize("path", SETTINGS)
def test_every_private_setting_is_still_there(path):
    module, _, name = path.partition(":")
    assert hasattr(import_module(module), name)


def test_a_hook_that_has_disappeared_is_noticed():
    with pytest.raises(AttributeError):
        attrgetter("LightningCLI._no_such_hook")(import_module("lightning.pytorch.cli"))


def test_private_methods_of_lightning_and_torch_are_overridden_in_one_file_alone():
    found = set()
    for module in pkgutil.walk_packages(peclip.__path__, "peclip."):
        if module.name.endswith("__main__"):
            continue
        for kind in vars(import_module(module.name)).values():
            if inspect.isclass(kind) and kind.__module__ == module.name:
                found |= {(module.name, name) for name in _overridden(kind)}
    assert {name for module, name in found if module == "peclip.train.private_hooks"}
    assert {(module, name) for module, name in found if module != "peclip.train.private_hooks"} == set()


def test_the_average_of_a_frozen_weight_is_that_weight_to_the_bit():
    callback = EMAWeightAveraging(decay=0.9)
    module = LightningModule()
    module.frozen, module.trained = (nn.Parameter(torch.rand(1000)) for _ in range(2))
    callback.setup(Trainer(logger=False), module, "fit")
    average_exactly(SimpleNamespace(callbacks=[callback]))
    before, start = module.frozen.clone(), module.trained.clone()
    averages = callback._average_model
    averages.update_parameters(module)
    with torch.no_grad():
        module.trained += 1
    averages.update_parameters(module)
    assert torch.equal(averages.module.frozen, before)
    torch.testing.assert_close(averages.module.trained, start + 0.1)


OWN = re.compile(r"(?:def |class |self\.|^ *)(_[a-z]\w*)(?= ?[(:=,]|\b.*? = )", re.MULTILINE | re.IGNORECASE)
"""A private name where it is defined."""

PRIVATE = re.compile(r"(?:(?<=[\w)\]]\.)|(?<=\)\[\"))(?!_exit|_replace)(_[a-z]\w*)", re.IGNORECASE)
"""A private attribute, or one taken from ``vars(...)``; two documented names of Python begin with an underscore."""

IMPORT = re.compile(r"^ *from .*$", re.MULTILINE)

HIDDEN = re.compile(r"^ *from (?!peclip)(\S*\b_[a-z]\S* import|\S+ import _[a-z])", re.MULTILINE)
"""An import of a private module, or from one."""


def _of_modules(tree):
    """Yield the names of private modules of other libraries that a file uses, each with its module."""
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.module.startswith(("peclip", "__future__")):
            for name in node.names:
                if name.name.startswith("_"):
                    modules[name.asname or name.name] = f"{node.module}.{name.name}"
                elif "._" in node.module:
                    yield f"{node.module}:{name.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") in modules:
            yield f"{modules[node.value.id]}:{node.attr}"
        elif (
            isinstance(node, ast.Tuple) and node.elts and getattr(node.elts[0], "id", "") in modules
        ):  # what guard replaces, by its name
            yield f"{modules[node.elts[0].id]}:{node.elts[1].value}"


def _overridden(kind):
    """Return the private methods of foreign base classes that a class overrides."""
    foreign = [base for base in kind.__mro__ if base.__module__.partition(".")[0] in ("lightning", "torch")]
    private = [name for name in vars(kind) if name.startswith("_") and inspect.isfunction(vars(kind)[name])]
    private = [name for name in private if not name.startswith("__")]
    return [name for name in private if any(callable(vars(base).get(name)) for base in foreign)]
