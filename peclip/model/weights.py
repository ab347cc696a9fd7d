"""Check weights wherever they come from: plain tensors of numbers that are all finite."""

from collections.abc import Mapping

import torch
from torch import Tensor

from peclip.errors import InputError

PRECISIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_weights(weights: Mapping[str, Tensor], source: str) -> None:
    """Check that weights are floating-point numbers that stay finite in fp32, in which a model computes.

    A model with another weight gives NaN for every clip, and then answers with its first label.

    Args:
        weights: tensors by name.
        source: where they come from, for the message.

    Raises:
        InputError: one is something else; the message names it.
    """
    for name, value in weights.items():
        if value.layout != torch.strided or value.dtype not in PRECISIONS:
            kind = f"{value.dtype}, {value.layout}".replace("torch.", "")
            raise InputError(f"{source}: {name} is a tensor of another kind ({kind}), expected floating-point numbers")
        if not value.is_meta and not _is_finite(value.detach().float()):
            raise InputError(
                f"{source}: {name} has a value that is not finite, so every answer would be NaN: use another file; peclip "
                "itself writes none with such a value"
            )


def _is_finite(value: Tensor) -> bool:
    """Return whether all values are finite: their sum shows it ten times faster than a look at each, unless it overflows."""
    return bool(value.sum().isfinite()) or bool(value.isfinite().all())
