"""Copies of modules without their weights."""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any, TypeVar

import torch
from torch import nn

Kind = TypeVar("Kind", bound=nn.Module)


def empty_copy(module: Kind, shared: Iterable[Any] = ()) -> Kind:
    """Return a copy of a module, with its hooks, on the meta device and in fp32: it takes no memory and computes nothing.

    Args:
        module: module to copy.
        shared: objects that the copy has in common with it.
    """
    memo: dict[int, Any] = {id(each): each for each in shared}
    for buffer in module.buffers():
        memo[id(buffer)] = torch.empty(buffer.shape, dtype=buffer.dtype, device="meta")
    for weight in module.parameters():
        memo[id(weight)] = nn.Parameter(torch.empty(weight.shape, device="meta"), weight.requires_grad)
    return deepcopy(module, memo)
