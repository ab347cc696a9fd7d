"""How the frozen layers of CLIP compute: the same function as always, with less time and memory for gradients.

Nothing of them learns, so of a layer only what carries gradients to its input needs to be kept.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface, CLIPModel
from transformers.activations import QuickGELUActivation
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "peclip"
"""Name of :func:`attention` among the attention functions of transformers."""


def economise(clip: CLIPModel) -> None:
    """Let a frozen CLIP compute attention by :func:`attention` and its activations by :class:`QuickGELU`."""
    clip.set_attn_implementation(ATTENTION)
    for module in list(clip.modules()):
        for name, child in module.named_children():
            if isinstance(child, QuickGELUActivation):
                setattr(module, name, QuickGELU())


def hold_in(clip: CLIPModel, dtype: torch.dtype) -> None:
    """Hold the matrices of a frozen CLIP in the precision in which autocast multiplies them.

    Autocast casts frozen weights at every call. Cast once they give the same results to the bit, in half the memory.
    Norms and embeddings stay as they are. Outside autocast the model then takes only inputs of that precision.
    """
    for module in clip.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.to(dtype)


def attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, **options: Any
) -> tuple[Tensor, None]:
    """Compute ``softmax(scaling query key^T) value``, on CPUs in bf16 with :class:`MultipliedBackward`.

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
    """torch's fused attention forward; backward as products of whole matrices, from the attention computed again.

    torch's fused backward for CPUs does not use their bf16 matrix units. Multiplied out it takes little more than half
    of the time with the 199 tokens of ViT-B/16, and a ninth with the 37 of the demo's CLIP. The attention matrix of one
    layer is there at a time, in the backward pass alone.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
        """Attend, and keep what went in."""
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
        scores = query @ key.transpose(-1, -2)
        if mask is not None:
            scores.masked_fill_(~mask, -torch.inf)
        weights = scores.softmax(-1)
        from_weights = grad @ value.transpose(-1, -2)
        from_scores = torch._softmax_backward_data(from_weights, weights, -1, weights.dtype)
        from_query = (from_scores @ key).mul_(ctx.scaling)
        return from_query, from_scores.transpose(-1, -2) @ query, weights.transpose(-1, -2) @ grad, None, None


class QuickGELU(nn.Module):
    """``x sigmoid(1.702 x)``, which keeps x alone for the gradient and computes the sigmoid again."""

    def forward(self, x: Tensor) -> Tensor:
        """Activate, any shape."""
        return _QuickGELU.apply(x) if torch.is_grad_enabled() else x * torch.sigmoid(1.702 * x)


class _QuickGELU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(1.702 * x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gate = torch.sigmoid(1.702 * x)
        # s + 1.702 x s (1 - s), in place: these are the largest tensors of a block.
        return (1 - gate).mul_(x).mul_(1.702).add_(1).mul_(gate).mul_(grad)


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
