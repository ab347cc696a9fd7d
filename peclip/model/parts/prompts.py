"""MaPLe: learnable prompt tokens for both towers at several depths (Khattak et al., CVPR 2023)."""

import torch
from torch import Tensor, nn

from peclip.errors import InputError


class MaPLe(nn.Module):
    """Multi-modal deep prompts: learnable text tokens, and vision tokens that are a linear map of them.

    ``vision prompts of depth i = W_i (text prompts of depth i) + b_i``: "MaPLe", Khattak et al., CVPR 2023, section 3.

    Depth 0 enters with the embeddings; the prompts of depth i > 0 replace those positions before block i.

    Args:
        text_width: width of the text tower.
        vision_width: width of the vision tower.
        length: P, prompt tokens per depth; at least 1.
        depth: how many depths have prompts of their own, 1 to the number of blocks of the shorter tower.

    Raises:
        InputError: length or depth is below 1.
    """

    def __init__(self, text_width: int, vision_width: int, length: int = 2, depth: int = 9) -> None:
        super().__init__()
        if length < 1 or depth < 1:
            raise InputError(
                f"MaPLe: length is {length} and depth is {depth}, expected 1 or more; for none, prompts: null"
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
