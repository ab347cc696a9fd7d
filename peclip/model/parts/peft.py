"""Methods of Hugging Face PEFT, such as LoRA, around linear layers of a frozen model; its modules stay where they are.

PEFT replaces modules of the model by its own. Here its layers are made as PEFT makes them, and then detached: the model's
modules, state dict and weights stay as they were, and each layer computes around the linear layer that it was made for.
"""

import re
from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from peclip.errors import InputError, shown
from peclip.model.backbones.freeze import empty_copy
from peclip.model.io.spec import Spec
from peclip.model.parts.in_place import nested
from peclip.model.parts.peft_config import errors_in_one_line, method_of, peft_package


def make_layers(model: nn.Module, spec: Spec) -> nn.ModuleDict:
    """Make the layers of a method for the linear layers of a frozen model that it targets.

    Args:
        model: frozen model, which stays as it is; if it is on the meta device, so are the layers.
        spec: configuration of the method, from :func:`describe_method`.

    Returns:
        The layers, nested by the names of the modules that they are made for; see
        :func:`peclip.model.parts.in_place.each_layer`.

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
    peft, method = peft_package(), method_of(spec)
    before = _states(model)
    own = {name for name, module in model.named_modules() if type(module) is nn.Linear}
    _check_targets(spec, own)
    _check_targets(spec, own, "exclude_modules")
    _check_blocks(spec, own)
    is_empty = all(weight.is_meta for weight in model.parameters())
    with errors_in_one_line():
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
    _check_unchanged(spec, before, _states(model))
    return layers


def _check_targets(spec: Spec, names: Collection[str], argument: str = "target_modules") -> None:
    """Check that every module that an argument names is one of some linear layers.

    Raises:
        InputError: one is not, or a pattern matches none.
    """
    named = spec.init_args.get(argument)
    if isinstance(named, list):
        unmatched = [each for each in named if not any(f".{name}".endswith(f".{each}") for name in names)]
    elif argument == "target_modules":  # a pattern or all-linear; without any, PEFT says what it needs
        unmatched = [named] if named and not names else []
    else:
        unmatched = [named] if named and not any(re.fullmatch(named, name) for name in names) else []
    if unmatched:
        raise InputError(
            f"peft: {argument} has {shown(unmatched[0])}, which matches no linear layer that the method reaches: expected "
            "names such as q_proj, k_proj, v_proj, out_proj, fc1 and fc2, a pattern of whole names, or all-linear",
            "peft",
        )


def _check_blocks(spec: Spec, names: Collection[str]) -> None:
    """Check that each of the layers to transform is a block with some linear layers.

    Raises:
        InputError: one is not.
    """
    wanted: Any = spec.init_args.get("layers_to_transform")
    found = sorted({int(number) for name in names for number in re.findall(r"\.(\d+)\.", name)})
    for number in [] if wanted is None else [wanted] if isinstance(wanted, int) else wanted:
        if number not in found:
            raise InputError(
                f"peft: layers_to_transform has {shown(number)}, expected blocks from {found[0]} to {found[-1]}",
                "peft",
            )


def _check_unchanged(spec: Spec, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Check that a model is as it was.

    Raises:
        InputError: a weight was written to, replaced or thawed.
    """
    if changed := [name for name in {**before, **after} if before.get(name) != after.get(name)]:
        arguments = ", ".join(f"{name} {shown(value)}" for name, value in spec.init_args.items())
        raise InputError(
            f"peft: {spec.class_path} with {arguments} trains or changes {changed[0]} of the frozen backbone, expected "
            "weights of its own alone (bias none, an initialisation that leaves the backbone as it is)",
            "peft",
        )


def _states(model: nn.Module) -> dict[str, Any]:
    """Return values that change if a weight is written to, replaced or thawed, by the names of the weights.

    Writing to ``weight.data``, as some initialisations of LoRA do, changes nothing here: they are refused by their names.
    """
    return {
        name: (id(weight), weight._version, weight.data_ptr(), weight.requires_grad)
        for name, weight in model.named_parameters()
    }


def _share(layer: nn.Module, linear: nn.Linear) -> None:
    """Let a PEFT layer wrap a linear layer without owning it, bypassing that layer's own forward and hooks."""
    inner = nn.Linear.__new__(nn.Linear)
    nn.Module.__init__(inner)
    inner.in_features, inner.out_features = linear.in_features, linear.out_features
    inner.__dict__["_parameters"] = linear._parameters  # the same ones when they are moved, converted or sharded
    del layer._modules["base_layer"]
    layer.__dict__["base_layer"] = inner
