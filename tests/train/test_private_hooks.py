"""Private names of Lightning and torch on which peclip stands."""

import inspect
import pkgutil
from importlib import import_module
from operator import attrgetter
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn

import peclip
from peclip.train.private_hooks import HOOKS, SETTINGS, average_exactly


@pytest.mark.parametrize("path", HOOKS)
def test_every_private_hook_is_still_there(path):
    module, _, name = path.partition(":")
    assert callable(attrgetter(name)(import_module(module)))


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


def _overridden(kind):
    """Return the private methods of foreign base classes that a class overrides."""
    foreign = [base for base in kind.__mro__ if base.__module__.partition(".")[0] in ("lightning", "torch")]
    private = [name for name in vars(kind) if name.startswith("_") and inspect.isfunction(vars(kind)[name])]
    private = [name for name in private if not name.startswith("__")]
    return [name for name in private if any(callable(vars(base).get(name)) for base in foreign)]
