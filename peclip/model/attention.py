"""Attention of the frozen towers: torch's fused one, and on CPUs in bf16 a backward pass that multiplies matrices.

torch's fused backward for CPUs does not use their bf16 matrix units. Multiplying the attention matrix out takes a third
of its time with the 199 tokens of ViT-B/16 and a tenth with the 39 of the demo's CLIP; one layer's matrix is there at a
time, in the backward pass alone.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "peclip"
"""Name of this attention in transformers; ``model.set_attn_implementation(ATTENTION)`` uses it."""


def attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, **options: Any
) -> tuple[Tensor, None]:
    """Compute ``softmax(scaling query key^T) value``.

    Args:
        module: whose attention it is; says whether it is causal where the options do not.
        query: (B, heads, L, D / heads); so are key and value.
        key: see query.
        value: see query.
        mask: bool, broadcast to (B, heads, L, L): what may be seen; None for everything, or everything before if causal.
        scaling: of the products.
        options: as transformers gives them.

    Returns:
        (B, L, heads, D / heads), and no weights.
    """
    if not (torch.is_grad_enabled() and query.device.type == "cpu" and query.dtype == torch.bfloat16):
        return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **options)
    causal = options.get("is_causal")
    if mask is None and (module.is_causal if causal is None else causal):
        length = query.shape[2]
        mask = torch.ones(length, length, dtype=torch.bool).tril()
    return MultipliedBackward.apply(query, key, value, mask, scaling).transpose(1, 2).contiguous(), None


class MultipliedBackward(torch.autograd.Function):
    """torch's fused attention forward; backward as products of whole matrices, from the attention computed again."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
        """Attend, and keep what went in."""
        ctx.save_for_backward(query, key, value)
        ctx.mask, ctx.scaling = mask, scaling
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of query, key and value."""
        query, key, value = ctx.saved_tensors
        scores = (query @ key.transpose(-1, -2)).mul_(ctx.scaling)
        if ctx.mask is not None:
            scores.masked_fill_(~ctx.mask, -torch.inf)
        weights = scores.softmax(-1)
        from_weights = grad @ value.transpose(-1, -2)
        from_scores = torch._softmax_backward_data(from_weights, weights, -1, weights.dtype).mul_(ctx.scaling)
        return from_scores @ key, from_scores.transpose(-1, -2) @ query, weights.transpose(-1, -2) @ grad, None, None


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
