"""Methods of Hugging Face PEFT, such as LoRA, around linear layers of a frozen model; its modules stay where they are.

PEFT replaces modules of the model by its own. Here its layers are made as PEFT makes them, and then taken out again: the model's
modules, state dict and weights stay as they were, and each layer computes around the linear layer that it was made for.
"""

import importlib
import warnings
from abc import ABC
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import torch
from torch import nn

from peclip.errors import LONGEST_REASON, InputError, shown
from peclip.model.io.spec import Spec
from peclip.model.parts.nested import nested
from peclip.model.skeleton import empty_copy

METHODS = (
    "LoraConfig",
    "LoHaConfig",
    "LoKrConfig",
    "IA3Config",
    "HRAConfig",
    "MissConfig",
    "C3AConfig",
    "FourierFTConfig",
)
"""Configurations of PEFT whose layers each stand around one linear layer and train like any other weights."""

UNSUPPORTED = (
    *("megatron_config", "megatron_core"),  # modules that PEFT would import
    *(
        "modules_to_save",
        "trainable_token_indices",
        "target_parameters",
        "layer_replication",
    ),  # no layer around a layer
)
"""Arguments that are refused."""


class PeftMethod(ABC):  # noqa: B024 - a configuration of PEFT, which is imported only where one is named
    """The configuration of a method of Hugging Face PEFT, such as ``peft.LoraConfig``."""

    @classmethod
    def __subclasshook__(cls, kind: type) -> bool:
        """Return whether a class is a configuration of PEFT."""
        return any((each.__module__, each.__name__) == ("peft.config", "PeftConfig") for each in kind.__mro__)


def describe_method(method: Any) -> Spec:
    """Return the class of a configuration of PEFT, and those of its arguments that are not the defaults.

    Raises:
        InputError: it is none, or not of the :data:`METHODS`, or an argument is not supported.
    """
    kind: Any = type(method)
    if (
        not PeftMethod.__subclasshook__(kind)
        or kind.__name__ not in METHODS
        or kind.__module__.partition(".")[0] != "peft"
    ):
        raise InputError(
            f"peft is {shown(method)}, expected one of {', '.join(f'peft.{name}' for name in METHODS)}", "peft"
        )
    if method.inference_mode:
        raise InputError("peft: inference_mode is true, which would train nothing: omit it", "peft")
    of_every_method = {field.name for field in fields(_peft().PeftConfig)}
    plain = kind()
    arguments = {}
    for field in fields(method):
        value: Any = getattr(method, field.name)
        make: Any = type(value)
        nested = is_dataclass(value) and value == make()
        if field.init and field.name not in of_every_method and value != getattr(plain, field.name) and not nested:
            arguments[field.name] = _plain(value, field.name)
    return Spec(f"peft.{kind.__name__}", arguments)


def method_of(spec: Spec) -> Any:
    """Return the configuration of PEFT that a spec describes.

    Raises:
        InputError: it is not of the :data:`METHODS`, an argument is not supported, or PEFT is missing or refuses it.
    """
    package, _, name = spec.class_path.partition(".")
    if package != "peft" or name not in METHODS:
        raise InputError(
            f"peft: class {spec.class_path!r} is none of {', '.join(f'peft.{name}' for name in METHODS)}", "peft"
        )
    for argument in UNSUPPORTED:
        if argument in spec.init_args:
            raise InputError(f"peft: {argument} is not supported: omit it", "peft")
    with _one_line():
        return getattr(_peft(), name)(**spec.init_args)


def make_layers(model: nn.Module, spec: Spec) -> nn.ModuleDict:
    """Make the layers of a method for the linear layers of a frozen model that it targets.

    Args:
        model: stays as it is; where it is on the meta device, so are the layers.
        spec: from :func:`describe_method`.

    Returns:
        The layers, nested by the names of the modules that they are made for; see
        :func:`peclip.model.parts.nested.each_layer`.

    Raises:
        InputError: as :func:`method_of`; a target matches no linear layer; the method would train or change weights of the model;
            or it has more weights than the model.
    """
    with torch.device("meta"):
        trial = _taken_out(empty_copy(model), spec)
    size = sum(weight.numel() for layer in trial.values() for weight in layer.parameters())
    if size > (most := sum(weight.numel() for weight in model.parameters())):
        raise InputError(f"peft: it has {size:,} parameters, expected at most those of its backbone, {most:,}", "peft")
    return nested(_taken_out(model, spec))


def _taken_out(model: nn.Module, spec: Spec) -> dict[str, nn.Module]:
    """Let PEFT put its layers into a model, detach them again, and return them by the names of their modules."""
    peft, method = _peft(), method_of(spec)
    before = {name: _state(weight) for name, weight in model.named_parameters()}
    own = {name for name, module in model.named_modules() if type(module) is nn.Linear}
    _check_targets(spec, own)
    is_empty = all(weight.is_meta for weight in model.parameters())
    with _one_line():
        peft.inject_adapter_in_model(method, model, low_cpu_mem_usage=is_empty)
    layers = {}
    for name, layer in list(model.named_modules()):
        if isinstance(layer, peft.tuners.tuners_utils.BaseTunerLayer):
            base = layer.get_base_layer()
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, base)
            if not isinstance(base, nn.Linear):
                raise InputError(
                    f"peft: {name} is {type(base).__name__}, but only linear layers can be targets", "peft"
                )
            if name in own:  # others, such as those in nn.MultiheadAttention, are never called
                layers[name] = layer
                _share(layer, base)
    if hasattr(model, "peft_config"):
        del model.peft_config
    _check_targets(spec, layers)
    _check_unchanged(spec, before, model)
    return layers


def _check_targets(spec: Spec, names: Collection[str]) -> None:
    """Check that every target that is named matches one of some linear layers.

    Raises:
        InputError: one does not, or a pattern matches none.
    """
    targets = spec.init_args.get("target_modules")
    if isinstance(targets, list):
        unmatched = [each for each in targets if not any(f".{name}".endswith(f".{each}") for name in names)]
    else:  # a pattern or all-linear; without any, PEFT says what it needs
        unmatched = [targets] if targets and not names else []
    if unmatched:
        raise InputError(
            f"peft: target_modules has {shown(unmatched[0])}, which matches no linear layer that the method reaches: expected "
            "names such as q_proj, k_proj, v_proj, out_proj, fc1 and fc2, a pattern of whole names, or all-linear",
            "peft",
        )


def _check_unchanged(spec: Spec, before: dict[str, Any], model: nn.Module) -> None:
    """Check that a model is as it was.

    Raises:
        InputError: a weight was written to, replaced or thawed.
    """
    after = {name: _state(weight) for name, weight in model.named_parameters()}
    if changed := [name for name in {**before, **after} if before.get(name) != after.get(name)]:
        arguments = ", ".join(f"{name} {shown(value)}" for name, value in spec.init_args.items())
        raise InputError(
            f"peft: {spec.class_path} with {arguments} trains or changes {changed[0]} of the frozen backbone, expected "
            "weights of its own alone (bias none, an initialisation that leaves the backbone as it is)",
            "peft",
        )


def _state(weight: nn.Parameter) -> tuple[Any, ...]:
    """Return what changes with a weight that is written to, replaced or thawed."""
    return id(weight), weight._version, weight.data_ptr(), weight.requires_grad


def _share(layer: nn.Module, linear: nn.Linear) -> None:
    """Let a layer compute around a linear layer that is no part of it, without that layer's own ``forward`` and hooks."""
    inner = nn.Linear.__new__(nn.Linear)
    nn.Module.__init__(inner)
    inner.in_features, inner.out_features = linear.in_features, linear.out_features
    inner.__dict__["_parameters"] = linear._parameters  # the same ones when they are moved, converted or sharded
    del layer._modules["base_layer"]
    layer.__dict__["base_layer"] = inner


def _plain(value: Any, name: str) -> Any:
    """Return the value of an argument as plain data.

    Raises:
        InputError: it is none.
    """
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset | list | tuple):
        items = [_plain(item, name) for item in value]
        return sorted(items) if isinstance(value, set | frozenset) else items
    if isinstance(value, dict):
        return {str(key): _plain(item, name) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError(f"peft: {name} is {shown(value)}, which no file could describe: omit it", "peft")


def _peft() -> Any:
    """Return the package.

    Raises:
        InputError: it is missing.
    """
    try:
        return importlib.import_module("peft")
    except ImportError as error:
        raise InputError("peft needs the package peft, which is missing: pip install 'peclip[peft]'", "peft") from error


@contextmanager
def _one_line() -> Iterator[None]:
    """Let errors of PEFT be an :class:`InputError`."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*loftq_config")  # the parser states the defaults of all arguments
            yield
    except InputError:
        raise
    except Exception as error:  # whatever it says of its arguments
        words = " ".join(str(error).split())
        raise InputError(f"peft: {words[:LONGEST_REASON]}{'...' * (len(words) > LONGEST_REASON)}", "peft") from error
