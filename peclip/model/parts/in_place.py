"""Layers that compute in the place of modules of a frozen backbone: those of PEFT, and copies of norms that train.

The weights of the backbone stay as they are. Lu et al., "Pretrained Transformers as Universal Computation Engines",
https://arxiv.org/abs/2103.05247, train little more than the norms of a frozen transformer.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import torch
from torch import nn

TrainedNorms = Literal["both", "vision", "text"]
"""The towers whose norms train."""


def nested(layers: Mapping[str, nn.Module]) -> nn.ModuleDict:
    """Return layers by the dotted names of modules as nested dicts, whose own names may have no dots."""
    found = nn.ModuleDict()
    for name, layer in layers.items():
        *path, last = name.split(".")
        place = found
        for part in path:
            if part not in place:
                place[part] = nn.ModuleDict()
            place = place[part]  # type: ignore[assignment]  # made here
        place[last] = layer
    return found


def each_layer(layers: nn.ModuleDict, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of :func:`nested`, each with the name of the module in whose place it computes."""
    for name, child in layers.items():
        if isinstance(child, nn.ModuleDict) and not hasattr(child, "base_layer"):  # some layers of PEFT are dicts
            yield from each_layer(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def copy_norms(model: nn.Module, towers: Iterable[nn.Module]) -> nn.ModuleDict:
    """Copy the norms of towers, so that the copies train.

    Args:
        model: frozen; stays as it is.
        towers: modules of it, whose norms are copied.

    Returns:
        A copy of every ``LayerNorm`` with weights, in fp32, nested by the names of these; see
        :func:`each_layer`.
    """
    within = {module for tower in towers for module in tower.modules()}
    return nested(
        {
            name: _copy(module)
            for name, module in model.named_modules()
            if module in within and isinstance(module, nn.LayerNorm) and module.elementwise_affine
        }
    )


def _copy(norm: nn.LayerNorm) -> nn.LayerNorm:
    copy = nn.LayerNorm(norm.normalized_shape, norm.eps, bias=norm.bias is not None)
    with torch.no_grad():
        for own, weight in zip(copy.parameters(), norm.parameters(), strict=True):
            own.copy_(weight)
    return copy
