"""Learnable prompt tokens: MaPLe for both towers, CoOp for the text tower, VPT for the vision tower."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from peclip.errors import InputError, shown

DEPTH = 9
"""Depths with prompts in PE-CLIP and MaPLe, if the towers have as many blocks."""


MOST_TOKENS = 1_000
"""Largest number of prompt tokens of a frame; VPT has at most 200."""


class Prompts(nn.Module):
    """Base class of prompts, your own included: learnable tokens among those of a frozen tower.

    A subclass accepts the width of the text tower, that of the vision tower, and the number of blocks of the shorter of its
    :attr:`towers`; configurations name it by its import path. The prompts of depth 0 enter with the embeddings; those of depth
    i > 0 replace them before block i.
    """

    towers: ClassVar[tuple[str, ...]] = ("text", "vision")
    """The towers that have prompts."""
    title: ClassVar[str] = ""
    """Name in tables; empty for the name of the class. A derived class does not inherit it."""

    length: int
    """P, prompt tokens per depth."""
    depth: int
    """Number of depths that have prompts of their own."""

    def text(self) -> Sequence[Tensor]:
        """Return the text prompts, one (P, text width) per depth; none without prompts in the text tower."""
        return ()

    def vision(self) -> Sequence[Tensor]:
        """Return the vision prompts, one (P, vision width) per depth; none without prompts in the vision tower."""
        return ()

    def depth_in(self, tower: str) -> int:
        """Return at how many depths of a tower there are prompts."""
        return self.depth if tower in self.towers else 0

    def length_in(self, tower: str) -> int:
        """Return the number of prompt tokens per depth of a tower: in the text tower each text needs as many placeholders."""
        return self.length if tower in self.towers else 0


class MaPLe(Prompts):
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
            if there are fewer.

    Raises:
        InputError: length or depth is out of range.
    """

    def __init__(
        self, text_width: int, vision_width: int, blocks: int, length: int = 2, depth: int | None = None
    ) -> None:
        super().__init__()
        depth = min(DEPTH, blocks) if depth is None else depth
        _check_length("MaPLe", length)
        _check_depth("MaPLe", depth, blocks, "the blocks of the shorter tower")
        self.length = length
        self.depth = depth
        self.tokens = _tokens(length, text_width, depth)
        self.project = nn.ModuleList(nn.Linear(text_width, vision_width) for _ in range(depth))

    def text(self) -> list[Tensor]:
        """Return the text prompts, one (P, text width) per depth."""
        return list(self.tokens)

    def vision(self) -> list[Tensor]:
        """Return the vision prompts, one (P, vision width) per depth."""
        return [project(tokens) for project, tokens in zip(self.project, self.tokens, strict=True)]


class CoOp(Prompts):
    """Context optimization: learnable text tokens before each class text, the same for all classes.

    CoOp (Zhou et al., IJCV 2022), https://arxiv.org/abs/2109.01134, section 3.2, with a unified context and the class text at its
    end. The context enters with the embeddings; nothing else learns.

    Args:
        text_width: width of the text tower.
        vision_width: width of the vision tower; not used.
        blocks: blocks of the text tower; not used.
        length: P, tokens of the context; at least 1.

    Raises:
        InputError: the length is out of range.
    """

    towers = ("text",)
    depth = 1

    def __init__(self, text_width: int, vision_width: int, blocks: int, length: int = 16) -> None:
        super().__init__()
        _check_length("CoOp", length)
        self.length = length
        self.tokens = _tokens(length, text_width, 1)

    def text(self) -> Sequence[Tensor]:
        """Return the context, one (P, text width)."""
        return list(self.tokens)


class VPT(Prompts):
    """Visual prompt tuning: learnable tokens among those of each frame, at the entrance of the vision tower or of every block.

    VPT (Jia et al., ECCV 2022), https://arxiv.org/abs/2203.12119, section 3.2: VPT-deep by default, VPT-shallow with a depth
    of 1. The tokens follow those of the patches, which makes no difference: they have no position.

    Args:
        text_width: width of the text tower; not used.
        vision_width: width of the vision tower.
        blocks: blocks of the vision tower.
        length: P, prompt tokens per depth; 1 to :data:`MOST_TOKENS`.
        depth: number of blocks that have prompts of their own, from the first, 1 to ``blocks``; by default all.

    Raises:
        InputError: length or depth is out of range.
    """

    towers = ("vision",)

    def __init__(
        self, text_width: int, vision_width: int, blocks: int, length: int = 10, depth: int | None = None
    ) -> None:
        super().__init__()
        depth = blocks if depth is None else depth
        _check_length("VPT", length, MOST_TOKENS)
        _check_depth("VPT", depth, blocks, "the blocks of the vision tower")
        self.length = length
        self.depth = depth
        self.tokens = _tokens(length, vision_width, depth)

    def vision(self) -> Sequence[Tensor]:
        """Return the prompts, one (P, vision width) per depth."""
        return list(self.tokens)


def _tokens(length: int, width: int, depth: int) -> nn.ParameterList:
    """Return prompt tokens of small noise, one (P, D) per depth."""
    return nn.ParameterList(torch.empty(length, width).normal_(std=0.02) for _ in range(depth))


def _check_length(name: str, length: int, most: int | None = None) -> None:
    if length < 1 or (most is not None and length > most):
        expected = "at least 1" if most is None else f"1 to {most:,}"
        raise InputError(
            f"{name}: length is {shown(length)}, expected {expected}; to train none, set prompts to None", "prompts"
        )


def _check_depth(name: str, depth: int, blocks: int, what: str) -> None:
    if not 1 <= depth <= blocks:
        raise InputError(
            f"{name}: depth is {shown(depth)}, expected 1 to {blocks}, {what}; to train none, set prompts to None",
            "prompts",
        )
