"""The trainable parameters of a model: how many each part has, and the groups that an optimizer gets."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from peclip.errors import InputError
from peclip.model import PEClip
from peclip.model.parts.in_place import each_layer

UNDECAYED = "norms"
"""The group without weight decay, which would pull the weights of pretrained norms from about 1 to 0."""


def parameter_groups(net: PEClip, rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return a group for each kind of part that learns, with its parameters, learning rate and name.

    Args:
        net: the model.
        rates: learning rates by the name of the group, which is that of the attribute of the model.

    Raises:
        InputError: the model has none of them, or weights of its backbone are trainable.
    """
    net.check_owned()
    groups: list[dict[str, Any]] = []
    for name, rate in rates.items():
        part = getattr(net, name)
        weights = [weight for weight in part.parameters() if weight.requires_grad] if part else []
        if weights:
            decay = {"weight_decay": 0.0} if name == UNDECAYED else {}
            groups.append({"params": weights, "lr": rate, "name": name, **decay})
    if not groups:
        options = tuple(f"net.{name}" for name in rates)
        listed = f"{', '.join(options[:-1])} or {options[-1]}"
        raise InputError(f"nothing to train: set {listed}, or use peclip test", *options)
    return groups


def trainable_parts(net: PEClip) -> list[tuple[nn.Module, str, int, int]]:
    """Return an example of every trainable part, its site, and the numbers of its blocks and parameters."""
    parts = []
    for tower, sites in net.adapters.named_children():
        for part, blocks in sites.named_children():
            example = next(blocks.children())
            parts.append((example, f"{tower}.{part}", len(list(blocks.children())), count_parameters(blocks)))
    if net.prompts:
        towers = net.prompts.towers
        where = "both towers" if len(towers) > 1 else f"{towers[0]} tower"
        parts.append((net.prompts, where, net.prompts.depth, count_parameters(net.prompts)))
    if size := count_parameters(net.temporal):
        parts.append((net.temporal, "features of frames", 1, size))
    layers = [layer for _, layer in each_layer(net.peft)]
    for kind in dict.fromkeys(map(type, layers)):
        own = [layer for layer in layers if type(layer) is kind]
        parts.append((own[0], f"{len(own)} linear layers", len(own), sum(map(count_parameters, own))))
    if norms := [norm for _, norm in each_layer(net.norms)]:
        where = "both towers" if net.config.norms == "both" else f"{net.config.norms} tower"
        parts.append((norms[0], where, len(norms), sum(map(count_parameters, norms))))
    return parts


def count_trainable(net: PEClip) -> int:
    """Return the number of parameters of the trainable parts of a model."""
    return sum(size for *_, size in trainable_parts(net))


def count_parameters(module: nn.Module) -> int:
    """Return the number of parameters of a module."""
    return sum(weight.numel() for weight in module.parameters())
