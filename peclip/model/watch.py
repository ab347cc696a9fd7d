"""Watch one pass of the vision tower: where each block looks, and how much the temporal adapters add."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.backends import cudnn

from peclip.model.backbones.layers import watching
from peclip.model.inject import watch
from peclip.model.modules import placed
from peclip.model.parts.adapters import TemporalDynamicAdapter
from peclip.model.peclip import PEClip


@dataclass(frozen=True, eq=False)
class Attention:
    """One attention in a pass over N frames: Q tokens look at L tokens.

    Attributes:
        query: (N, heads, Q, D / heads).
        key: (N, heads, L, D / heads).
        value: (N, heads, L, D / heads).
        scaling: factor on the products of query and key.
        out: output of the attention, (N, Q, D) or (N, Q, heads, D / heads), in the graph of the pass.
        projection: matrix (D, D) by which the outputs of the heads became ``out``; None if they are ``out``.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    scaling: float
    out: Tensor
    projection: Tensor | None = None

    def weights(self) -> Tensor:
        """Return where each token looks, (N, heads, Q, L); over L they add up to 1."""
        return (self.query @ self.key.mT * self.scaling).softmax(dim=-1)

    def gradient(self, of_out: Tensor) -> Tensor:
        """Return the gradient with respect to the weights, (N, heads, Q, L), from that with respect to ``out``."""
        of_heads = of_out.flatten(2) if self.projection is None else of_out @ self.projection
        return rearrange(of_heads, "n q (h d) -> n h q d", h=self.value.shape[1]) @ self.value.mT


@dataclass(frozen=True, eq=False)
class Pass:
    """One pass over a clip of T frames; a frame has L tokens: the class token if there is one, patches, P prompts.

    Attributes:
        logits: (C,), in the graph of the pass.
        blocks: the self-attention of each block.
        pooling: the attention that reads the feature of a frame; None if that is the class token, the first.
        scales: scales of the temporal dynamic adapters, by block: (T, L).
        prompts: P, number of prompts.
        depth: number of blocks, from the first, that get their own prompts.
    """

    logits: Tensor
    blocks: tuple[Attention, ...]
    pooling: Attention | None
    scales: dict[int, Tensor]
    prompts: int
    depth: int


@dataclass
class _Seen:
    blocks: dict[nn.Module, Attention] = field(default_factory=dict)
    pooling: Attention | None = None
    scales: dict[int, Tensor] = field(default_factory=dict)

    def attention(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, scaling: float, out: Tensor
    ) -> None:
        """Note the attention of a block: the last one, for an adapter may have used it before over time."""
        self.blocks[module] = Attention(query.detach(), key.detach(), value.detach(), scaling, out)

    def pool(self, module: nn.MultiheadAttention, args: Any, output: Any) -> None:
        """Note the attention of a pooling head, which has one query."""
        (probe, tokens, _), (into, bias) = args, (module.in_proj_weight, module.in_proj_bias)
        query, key, value = (
            rearrange(nn.functional.linear(x.detach(), w, b), "n l (h d) -> n h l d", h=module.num_heads)
            for x, w, b in zip((probe, tokens, tokens), into.chunk(3), bias.chunk(3), strict=True)
        )
        scaling = module.head_dim**-0.5
        self.pooling = Attention(query, key, value, scaling, output[0], module.out_proj.weight)

    def scale(self, block: int, adapter: TemporalDynamicAdapter, args: Any, output: Any) -> None:
        """Record the TDA scales under no_grad: saving tensors here would break the checks of activation checkpointing."""
        with torch.no_grad():
            self.scales[block] = adapter.scale_of(args[0])


class _CudnnOff:
    """Keeps cuDNN switched off while any thread is within its context: torch has one switch for all threads."""

    def __init__(self) -> None:
        self._lock, self._threads, self._before = threading.Lock(), 0, True

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._threads:
                self._before, cudnn.enabled = cudnn.enabled, False
            self._threads += 1
        try:
            yield
        finally:
            with self._lock:
                self._threads -= 1
                if not self._threads:  # the last to leave
                    cudnn.enabled = self._before


_cudnn_off = _CudnnOff()


def watched(net: PEClip, video: Tensor) -> Pass:
    """Run a model on one clip and watch its vision tower.

    Args:
        net: the model.
        video: normalised frames, float (T, 3, H, W).

    Returns:
        The pass; its logits are those of :meth:`PEClip.forward`, and have a graph whether or not a weight learns.
    """
    seen, tower = _Seen(), net.backbone.towers["vision"]
    with ExitStack() as stack, torch.enable_grad():
        stack.enter_context(_cudnn_off())  # its recurrences have no gradient in evaluation mode
        stack.enter_context(net.all_tokens())
        stack.enter_context(watching(tower.module, seen.attention))
        for (_, block), adapter in placed(net.adapters, "vision").items():
            if isinstance(adapter, TemporalDynamicAdapter):
                stack.callback(watch(adapter, partial(seen.scale, block, adapter)).remove)
        if (head := net.backbone.pooling) is not None:
            stack.callback(watch(head, partial(seen.pool, head)).remove)
        logits = net(video.detach().requires_grad_()[None])[0]
    length, depth = (net.prompts.length_in("vision"), net.prompts.depth_in("vision")) if net.prompts else (0, 0)
    return Pass(logits, tuple(seen.blocks.values()), seen.pooling, seen.scales, length, depth)
