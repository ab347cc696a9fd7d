"""Norms of a frozen backbone that train: copies compute in their place, and the backbone's own weights stay as they are.

Lu et al., "Pretrained Transformers as Universal Computation Engines", https://arxiv.org/abs/2103.05247, train little more than the norms of a
frozen transformer.
"""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import nn

from peclip.model.parts.nested import nested

TrainedNorms = Literal["both", "vision", "text"]
"""The towers whose norms train."""


def copy_norms(model: nn.Module, towers: Iterable[nn.Module]) -> nn.ModuleDict:
    """Copy the norms of towers, so that the copies train.

    Args:
        model: frozen; stays as it is.
        towers: modules of it, whose norms are copied.

    Returns:
        A copy of every ``LayerNorm`` with weights, in fp32, nested by the names of these; see
        :func:`peclip.model.parts.nested.each_layer`.
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
