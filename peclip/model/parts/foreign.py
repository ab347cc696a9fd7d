"""Parts of other packages than peclip, of which nothing is known but their base class: what they return is checked."""

from typing import Any

import torch
from torch import Tensor, nn

from peclip.errors import InputError


def is_foreign(part: nn.Module) -> bool:
    """Return whether a part is of another package."""
    return not type(part).__module__.startswith("peclip.")


def check_returned(kind: str, part: nn.Module, found: Any, shape: tuple[int, ...]) -> None:
    """Check that a part of another package has returned a tensor of a shape: others would be broadcast without a word.

    Args:
        kind: kind of the part, for the message.
        part: part of any package.
        found: value that it has returned.
        shape: shape that is expected.

    Raises:
        InputError: it has returned something else.
    """
    if torch.compiler.is_compiling() or torch.compiler.is_exporting() or not is_foreign(part):
        return
    if not isinstance(found, Tensor) or found.shape != shape:
        what = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise InputError(f"{kind}: {type(part).__name__} returns {what}, expected shape {tuple(shape)}", kind)
