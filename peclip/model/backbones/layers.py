"""Attention of all families, and layers of Hugging Face's CLIP and MetaCLIP 2 that compute the same with less work."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.models.clip.modeling_clip import CLIPAttention, CLIPEncoderLayer

from peclip.model.fast.frozen import attention, is_faster_here

ATTENTION = "peclip"
"""Name of :func:`attend` among the attention functions of transformers."""

See = Callable[[nn.Module, Tensor, Tensor, Tensor, float, Tensor], None]
"""Callable that accepts an attention module, query, key and value (N, heads, L, D / heads), the factor on their products, and
the output (N, L, heads, D / heads)."""


class _Watch(threading.local):
    """The watcher of a tower in this thread; other threads may use the tower meanwhile. Defaults are not in the class, as in `Flow`.

    Attributes:
        config: configuration of the tower.
        see: function that is called at its attentions; None if nobody watches.
    """

    def __init__(self) -> None:
        self.config: Any = None
        self.see: See | None = None


_watch = _Watch()


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, **options: Any
) -> tuple[Tensor, Tensor | None]:
    """Attend as transformers' modules ask for it: by :func:`peclip.model.fast.frozen.attention` if that is faster."""
    out, weights = _attend(module, query, key, value, mask, scaling, **options)
    if _watch.see is not None and module.config is _watch.config:
        _watch.see(module, query, key, value, scaling, out)
    return out, weights


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, **options: Any
) -> tuple[Tensor, Tensor | None]:
    if not is_faster_here(query):
        return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **options)
    causal = options.get("is_causal")
    return attention(query, key, value, mask, scaling, bool(module.is_causal if causal is None else causal)), None


@contextmanager
def watching(tower: Any, see: See) -> Iterator[None]:
    """Within the context, call a function at every attention that a tower of a frozen model computes in this thread."""
    before = _watch.config, _watch.see
    _watch.config, _watch.see = tower.config, see
    try:
        yield
    finally:
        _watch.config, _watch.see = before


def use_one_token(model: Any) -> None:
    """Let the last blocks of a CLIP or MetaCLIP 2 compute one token alone if they are asked to, and embed patches faster."""
    model.vision_model.embeddings.patch_embedding.__class__ = PatchEmbedding
    for tower in (model.vision_model, model.text_model):
        last = tower.encoder.layers[-1]
        last.__class__, last.self_attn.__class__ = OneTokenBlock, OneTokenAttention


class PatchEmbedding(nn.Conv2d):
    """The convolution of patches that do not overlap, as one matrix product: faster in bf16 and on GPUs."""

    def forward(self, frames: Tensor) -> Tensor:
        """Embed the patches of frames, (N, 3, H, W) -> (N, D, rows, columns).

        In fp32 on a CPU, where it gains little, the convolution keeps every bit as it was.
        """
        if frames.device.type == "cpu" and frames.dtype == torch.float32 and not torch.is_autocast_enabled("cpu"):
            return super().forward(frames)
        high, wide = self.kernel_size
        rows, columns = (side - side % patch for side, patch in zip(frames.shape[-2:], self.kernel_size, strict=True))
        frames = frames[..., :rows, :columns]  # a convolution ignores what fills no patch, too
        patches = rearrange(frames, "n c (y h) (x w) -> n y x (c h w)", h=high, w=wide)
        return rearrange(F.linear(patches, self.weight.flatten(1)), "n y x d -> n d y x")


class OneTokenBlock(CLIPEncoderLayer):
    """A block that computes one token alone if no other token of its output is used: the same value for little of the work.

    Its attention looks at all tokens; everything else is computed of that token.
    """

    def forward(
        self, hidden_states: Tensor, attention_mask: Any, at: int | Tensor | None = None, **options: Any
    ) -> Tensor:
        """Run the block.

        Args:
            hidden_states: (N, L, D).
            attention_mask: mask of the attention, see CLIPEncoderLayer.
            at: the token that is used: its place in all sequences, or in a causal tower without padding its place in each,
                (N,). None for all tokens.
            options: further arguments of CLIPEncoderLayer.

        Returns:
            (N, L, D); (N, 1, D) for one place, and that token at all places (N, L, D) for places by sequence.
        """
        if at is None:
            return super().forward(hidden_states, attention_mask, **options)
        middle = _token(hidden_states, at) + self.self_attn(self.layer_norm1(hidden_states), at=at)[0]
        leaving = middle + self.mlp(self.layer_norm2(middle))
        return leaving if isinstance(at, int) else leaving.expand_as(hidden_states)


class OneTokenAttention(CLIPAttention):
    """The attention of an :class:`OneTokenBlock`."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        at: int | Tensor | None = None,
        **options: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from one token (N, 1, D), or from all where ``at`` is None; see :class:`OneTokenBlock`."""
        if at is None:
            return super().forward(hidden_states, attention_mask, **options)
        query = rearrange(self.q_proj(_token(hidden_states, at)), "n l (h d) -> n h l d", d=self.head_dim)
        seen = None
        if isinstance(at, Tensor):
            places = torch.arange(hidden_states.shape[1], device=at.device)
            seen = rearrange(places <= at[:, None], "n l -> n 1 1 l")
        if _is_plain(self.k_proj) and _is_plain(self.v_proj):
            return self.out_proj(self._of_tokens(query, hidden_states, seen)), None
        key, value = (
            rearrange(layer(hidden_states), "n l (h d) -> n h l d", d=self.head_dim)
            for layer in (self.k_proj, self.v_proj)
        )
        out, weights = attend(self, query, key, value, seen, self.scale, is_causal=False)
        return self.out_proj(rearrange(out, "n l h d -> n l (h d)")), weights

    def _of_tokens(self, query: Tensor, hidden_states: Tensor, seen: Tensor | None) -> Tensor:
        """Attend from one query to the tokens themselves: the projections of keys and values go to its side.

        With weights K and V of a head, softmax(q (K x)^T) V x is softmax((q K) x^T) x V. So neither projection is computed of all
        tokens, and the heads become queries of one attention. The bias of K adds the same to all products, which changes nothing;
        that of V is added at the end, since the weights of tokens sum to 1.

        Args:
            query: (N, heads, 1, D / heads).
            hidden_states: (N, L, D).
            seen: mask of the tokens that the query may look at, bool (N, 1, 1, L); None for all.

        Returns:
            (N, 1, D), before the last projection.
        """
        # Not by einops, which remembers the types that it has seen: with parameters among them, compiled blocks are compiled again.
        to_keys, to_values = (layer.weight.unflatten(0, (-1, self.head_dim)) for layer in (self.k_proj, self.v_proj))
        heads = rearrange(torch.matmul(rearrange(query, "n h 1 d -> h n d"), to_keys), "h n c -> n 1 h c")
        tokens = rearrange(hidden_states.to(heads.dtype), "n l c -> n 1 l c")
        # Its gradient is small here, and torch can compile it, unlike a custom function that gets a tensor twice.
        out = F.scaled_dot_product_attention(heads, tokens, tokens, seen, scale=self.scale)
        values = torch.matmul(rearrange(out, "n 1 h c -> h n c"), to_values.mT)
        values = rearrange(values, "h n d -> n 1 (h d)")
        return values if self.v_proj.bias is None else values + self.v_proj.bias.to(values.dtype)


def _is_plain(layer: nn.Module) -> bool:
    """Return whether a layer is a plain product with its weight, without an adapter or a hook."""
    changed = "forward" in layer.__dict__ or layer._forward_hooks or layer._forward_pre_hooks
    return type(layer) is nn.Linear and not changed


def _token(hidden_states: Tensor, at: int | Tensor) -> Tensor:
    """Return one token of each sequence, (N, L, D) -> (N, 1, D)."""
    if isinstance(at, int):
        return hidden_states[:, at : at + 1]
    return hidden_states[torch.arange(len(at), device=at.device), at][:, None]


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
