"""MaPLe: learnable prompt tokens for both towers at several depths."""

import torch
from torch import Tensor, nn

from peclip.errors import InputError, shown

DEPTH = 9
"""Depths with prompts in PE-CLIP and MaPLe, where the towers have as many blocks."""


class MaPLe(nn.Module):
    """Multi-modal deep prompts: learnable text tokens, and vision tokens that are a linear map of them.

    ``vision prompts of depth i = W_i (text prompts of depth i) + b_i``: MaPLe (Khattak et al., CVPR 2023),
    https://arxiv.org/abs/2210.03117, section 3, as PE-CLIP (https://arxiv.org/abs/2503.16945) uses it.

    Depth 0 enters with the embeddings; the prompts of depth i > 0 replace those positions before block i.

    Args:
        text_width: width of the text tower.
        vision_width: width of the vision tower.
        blocks: blocks of the shorter tower.
        length: P, prompt tokens per depth; at least 1.
        depth: number of depths that have prompts of their own, 1 to ``blocks``; by default :data:`DEPTH`, or all blocks
            where there are fewer.

    Raises:
        InputError: length or depth is out of range.
    """

    def __init__(
        self, text_width: int, vision_width: int, blocks: int, length: int = 2, depth: int | None = None
    ) -> None:
        super().__init__()
        depth = min(DEPTH, blocks) if depth is None else depth
        if length < 1:
            raise InputError(
                f"MaPLe: length is {shown(length)}, expected at least 1; for no prompts, set prompts to null"
            )
        if not 1 <= depth <= blocks:
            raise InputError(
                f"MaPLe: depth is {shown(depth)}, expected 1 to {blocks}, the blocks of the shorter tower; for no prompts, set "
                "prompts to null"
            )
        self.length = length
        self.depth = depth
        self.tokens = nn.ParameterList(torch.empty(length, text_width).normal_(std=0.02) for _ in range(depth))
        self.project = nn.ModuleList(nn.Linear(text_width, vision_width) for _ in range(depth))

    def text(self) -> list[Tensor]:
        """Return the text prompts, one (P, text width) per depth."""
        return list(self.tokens)

    def vision(self) -> list[Tensor]:
        """Return the vision prompts, one (P, vision width) per depth."""
        return [project(tokens) for project, tokens in zip(self.project, self.tokens, strict=True)]
