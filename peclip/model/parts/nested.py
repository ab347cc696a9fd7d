"""Layers that compute in the place of modules of a frozen model, nested by the names of these modules."""

from collections.abc import Iterator, Mapping

from torch import nn


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
