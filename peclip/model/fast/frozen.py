"""Layers of a frozen backbone that save time and memory for gradients; each computes the same function as its original.

Their weights do not learn, so a layer keeps only what carries gradients to its input.
"""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


def hold_in(model: nn.Module, dtype: torch.dtype) -> None:
    """Convert the matrices of a frozen model to the precision in which autocast multiplies them.

    Autocast casts frozen weights at every call. Cast once they give bit-identical results in half the memory. Norms and
    embeddings keep their precision. Outside autocast the model then accepts only inputs of the new precision.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.to(dtype)


def is_faster_here(query: Tensor) -> bool:
    """Return whether :func:`attention` is faster than torch's fused attention: on CPUs in bf16, with gradients."""
    return torch.is_grad_enabled() and query.device.type == "cpu" and query.dtype == torch.bfloat16


def attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, causal: bool = False
) -> Tensor:
    """Compute ``softmax(scaling query key^T) value`` with the gradient of :class:`MultipliedBackward`.

    Args:
        query: (B, heads, L, D / heads); so are key and value.
        key: see query.
        value: see query.
        mask: bool, broadcast to (B, heads, L, L), true where a query may look; None for everywhere.
        scaling: factor on the products.
        causal: without a mask, whether a query looks at itself and earlier keys only.

    Returns:
        (B, L, heads, D / heads).
    """
    if mask is None and causal:
        length = query.shape[2]
        mask = torch.ones(length, length, dtype=torch.bool).tril()
    return rearrange(MultipliedBackward.apply(query, key, value, mask, scaling), "b h l d -> b l h d").contiguous()


class MultipliedBackward(torch.autograd.Function):
    """torch's fused attention forward; backward as products of whole matrices, from the attention computed again.

    torch's fused backward for CPUs does not use their bf16 matrix units. As matrix products it takes little more than
    half of the time with the 199 tokens of ViT-B/16, and a ninth with the 37 of the demo's CLIP. Memory holds the
    attention matrix of one layer at a time, in the backward pass only.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
        """Attend, and keep the inputs for the gradient."""
        ctx.save_for_backward(query, key, value, mask)
        ctx.scaling = scaling
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of query, key and value."""
        *tensors, mask = ctx.saved_tensors
        # Heads are views of the width; products of whole matrices are several times slower on them.
        query, key, value, grad = (tensor.contiguous() for tensor in (*tensors, grad))
        query = query * ctx.scaling
        scores = query @ key.mT
        if mask is not None:
            scores.masked_fill_(~mask, -torch.inf)
        weights = scores.softmax(-1)
        from_weights = grad @ value.mT
        from_scores = torch._softmax_backward_data(from_weights, weights, -1, weights.dtype)
        from_query = (from_scores @ key).mul_(ctx.scaling)
        return from_query, from_scores.mT @ query, weights.mT @ grad, None, None


def linear_of_last(x: Tensor, weight: Tensor, bias: Tensor | None, count: int) -> Tensor:
    """Compute a linear layer, with the gradient of the last tokens alone: that of all others is zero.

    Args:
        x: (N, L, D).
        weight: (D', D), frozen; so is the bias.
        bias: (D',).
        count: tokens of each sequence that carry gradients.

    Returns:
        (N, L, D').
    """
    made: Tensor = _LinearOfLast.apply(x, weight, bias, count)
    return made


class _LinearOfLast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, count: int) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.count = count
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        from_x = grad.new_zeros(*grad.shape[:-1], weight.shape[1])
        from_x[:, -ctx.count :] = grad[:, -ctx.count :] @ weight.to(grad.dtype)
        return from_x, None, None, None


FACTOR = 1.702
"""Factor on the input of the sigmoid of QuickGELU."""


class QuickGELU(nn.Module):
    """``x sigmoid(1.702 x)``, which keeps only ``1.702 x`` for the gradient and recomputes the sigmoid."""

    def forward(self, x: Tensor) -> Tensor:
        """Activate, any shape."""
        # These are the largest tensors of a block: each new one costs more than its arithmetic.
        return _QuickGELU.apply(x) if torch.is_grad_enabled() else (FACTOR * x).sigmoid_().mul_(x)


class _QuickGELU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        scaled = FACTOR * x
        ctx.save_for_backward(scaled)
        gate = torch.sigmoid(scaled)
        # Compiled by torch 2.11, a result that was written in place would have no gradient.
        return gate * x if torch.compiler.is_compiling() else gate.mul_(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        # It is silu(1.702 x) / 1.702, so its derivative is that of silu, which torch computes in one pass.
        (scaled,) = ctx.saved_tensors
        return torch.ops.aten.silu_backward(grad, scaled)
