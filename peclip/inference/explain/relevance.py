"""Relevance of patches: where a model looks, and where it looks for a class, by attention rollout; and its picture as heat over frames."""

from math import isqrt
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from peclip.model.watch import Attention, Pass

COLOURS = "inferno"
"""Colour map of relevance: its lightness rises all the way, so that it reads the same without colours."""


class Maps(NamedTuple):
    """Relevance of the patches of T frames.

    Attributes:
        rollout: share of each patch in the feature of its frame, (T, rows, columns).
        gradient: relevance of each patch for a class, comparable between frames, (T, rows, columns).
        prompts: share of the feature of each frame that comes from prompts, (T,).
    """

    rollout: Tensor
    gradient: Tensor
    prompts: Tensor


def margin(logits: Tensor, label: int) -> Tensor:
    """Return the logit of a class minus the mean logit of the others, (..., C) -> (...).

    A constant that is added to all logits cancels.
    """
    classes = logits.shape[-1]
    own = logits[..., label]
    return own if classes == 1 else own - (logits.sum(dim=-1) - own) / (classes - 1)


def maps(seen: Pass, score: Tensor) -> Maps:
    """Return the relevance of the patches of a clip for its feature, and for a score.

    Attention rollout (Abnar and Zuidema, 2020, https://arxiv.org/abs/2005.00928) multiplies the attention of all blocks, where
    half of each is the token's own content. The gradient-weighted one (Chefer, Gur and Wolf, 2021,
    https://arxiv.org/abs/2103.15679) keeps the attention that raises a score. In both, the path ends at prompts that a block
    replaces, because they contain nothing of the frame.

    Args:
        seen: the pass.
        score: score of a class, computed from the logits of the pass.
    """
    every = [*seen.blocks, *([seen.pooling] if seen.pooling else [])]
    gradients = torch.autograd.grad(score, [each.out for each in every])
    with torch.no_grad():
        plain = [each.weights().mean(dim=1) for each in every]
        rollout, prompts = _rolled(seen, plain, keep=0.5, add=0.5)
        weighted = [_raising(each, gradient) for each, gradient in zip(every, gradients, strict=True)]
        gradient, _ = _rolled(seen, weighted, keep=1.0, add=1.0)
    total = rollout.sum(dim=1) + prompts
    return Maps(_grid(rollout / total[:, None]), _grid(gradient), prompts / total)


def heated(frames: np.ndarray, relevance: np.ndarray, largest: float | None = None) -> np.ndarray:
    """Return frames in grey with their relevance as heat, uint8 (T, S, S, 3).

    Args:
        frames: RGB frames, uint8 (T, S, S, 3).
        relevance: relevance of their patches, at least 0, (T, rows, columns).
        largest: the relevance of the hottest colour; by default the largest one.
    """
    from matplotlib import colormaps

    top = float(relevance.max()) if largest is None else largest
    shares = np.clip(relevance / (top or 1.0), 0, 1).astype(np.float32)
    size = frames.shape[2], frames.shape[1]
    heat = np.stack(
        [np.asarray(Image.fromarray(share).resize(size, Image.Resampling.BILINEAR)) for share in shares]
    ).clip(0, 1)
    grey = frames.mean(axis=3, keepdims=True) / 255
    opacity = (0.15 + 0.75 * heat**0.7)[..., None]
    mixed = (1 - opacity) * 0.85 * grey + opacity * colormaps[COLOURS](heat)[..., :3]
    return np.asarray((255 * mixed).round().astype(np.uint8))


def spread(count: int, most: int) -> np.ndarray:
    """Return the indices of at most so many items of a sequence, evenly spread from the first to the last."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).round().astype(int)


def _raising(attention: Attention, gradient: Tensor) -> Tensor:
    """Return the attention that raises the score, mean over heads, (T, Q, L)."""
    return (attention.weights() * attention.gradient(gradient)).clamp(min=0).mean(dim=1)


def _rolled(seen: Pass, attention: list[Tensor], keep: float, add: float) -> tuple[Tensor, Tensor]:
    """Follow the feature of each frame back through the blocks.

    Args:
        seen: the pass.
        attention: attention of each block (T, L, L), then that of the pooling head (T, 1, L) if there is one.
        keep: weight of a token's own content.
        add: weight of what it takes from other tokens.

    Returns:
        The relevance of the patches (T, patches), and that of all prompts (T,).
    """
    blocks = attention[: len(seen.blocks)]
    if seen.pooling:
        token, starts = attention[-1][:, 0], 0
    else:
        token, starts = torch.zeros_like(blocks[-1][:, 0]), 1
        token[:, 0] = 1
    end, from_prompts = token.shape[1] - seen.prompts, token.new_zeros(len(token))
    for block in reversed(range(len(blocks))):
        token = keep * token + add * torch.einsum("tq,tql->tl", token, blocks[block])
        if block < seen.depth:
            from_prompts += token[:, end:].sum(dim=1)
            token[:, end:] = 0
    return token[:, starts:end], from_prompts


def _grid(patches: Tensor) -> Tensor:
    return rearrange(patches, "t (r c) -> t r c", r=isqrt(patches.shape[1]))
