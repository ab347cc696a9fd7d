"""Backbones of tests are loaded from their files once a process: loading one takes thirty times as long as copying it.

Nor are the operations of models that are alike counted more than once: that is a tenth of a short run.
"""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from types import FunctionType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from peclip.model import PEClip
    from peclip.model.backbones.contract import Backbone

USERS = ("peclip.model.build", "peclip.model.peclip", "peclip.inference.cautions", "peclip.bench.sizes")
"""Modules that load backbones by their names. Tests of loading call the function itself, which loads at every call."""


COUNTER = "peclip.train.module"
"""The module that counts the operations of the models of runs. Tests of counting call the function itself."""


@contextmanager
def loaded_once() -> Iterator[None]:
    """Let models get copies of backbones whose files have not changed since they were loaded, and runs what was counted."""
    with pytest.MonkeyPatch.context() as patch:
        for user in USERS:
            if user in sys.modules:
                patch.setattr(f"{user}.load_backbone", _once(sys.modules[user].load_backbone))
        if COUNTER in sys.modules:
            patch.setattr(f"{COUNTER}.clip_flops", _counted_once(sys.modules[COUNTER].clip_flops))
        yield


LOADED: dict[tuple[object, ...], Backbone] = {}


def _once(load: Callable[[str], Backbone]) -> Callable[[str], Backbone]:
    def loaded(name: str) -> Backbone:
        # A file or folder is the same from wherever it is named; what a repository's name means may depend on the working folder.
        place = "" if name == "demo" else os.path.abspath(name) if os.path.exists(name) else os.getcwd()
        key = (name, place, _files(name))
        if key not in LOADED:
            LOADED[key] = load(name)
        return replace(LOADED[key], clip=_copied(LOADED[key].clip))  # nothing writes to a tokenizer

    return loaded


PLAIN = (bool, int, str, float, type, FunctionType, type(None))
"""Types of values that a copy may share."""


def _copied(module: nn.Module) -> nn.Module:
    """Return what ``deepcopy`` returns in a quarter of its time, most of which goes into the empty hooks of each module."""
    twins = [(each, each.__new__(type(each))) for each in module.modules()]
    known: dict[int, Any] = {id(each): twin for each, twin in twins}
    for each, twin in twins:
        for name, value in vars(each).items():
            kind = type(value)
            if kind in (dict, OrderedDict, set) and not value:
                twin.__dict__[name] = kind()
            else:
                twin.__dict__[name] = value if kind in PLAIN else deepcopy(value, known)
    return twins[0][1]


def _files(path: str) -> tuple[object, ...]:
    """Return what changes with a folder, or with a file and those beside it, such as its tokenizer's."""
    folder = os.path.dirname(path) or "." if os.path.isfile(path) else path
    found = [(each.name, each.stat()) for each in os.scandir(folder)] if os.path.isdir(folder) else []
    return tuple(sorted((name, status.st_ino, status.st_size, status.st_mtime_ns) for name, status in found))


def _counted_once(count: Callable[[PEClip], int | None]) -> Callable[[PEClip], int | None]:
    known: dict[tuple[object, ...], int | None] = {}

    def counted(net: PEClip) -> int | None:
        key = _shape(net)
        if key not in known:
            known[key] = count(net)
        return known[key]

    return counted


def _shape(net: PEClip) -> tuple[object, ...]:
    """Return what the number of a model's operations depends on: its modules, their arguments, and the sizes of its weights.

    It does not depend on its texts, which are encoded once for all clips.
    """
    config = net.config
    stated = (config.adapters, config.prompts, config.temporal, config.peft, config.norms, config.clip_format)
    sizes = [(name, tuple(each.shape), each.dtype) for name, each in net.named_parameters()]
    return (repr(stated), tuple(map(type, net.modules())), tuple(sizes))
