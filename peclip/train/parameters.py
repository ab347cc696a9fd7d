"""The groups of parameters that an optimizer gets."""

from collections.abc import Mapping
from typing import Any

from peclip.errors import InputError
from peclip.model import PEClip

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
