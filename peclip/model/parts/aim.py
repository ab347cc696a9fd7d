"""AIM: the frozen attention of a block, reused over time, and the adapters around it."""

from typing import ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from peclip.errors import LARGEST, InputError, shown
from peclip.model.parts.adapters import Adapter, Place, Takes, bottleneck, zero
from peclip.model.parts.temporal import MOST, at_frames


class AIMTemporalAdapter(Adapter):
    """Temporal adaptation: the frozen self-attention of the block over the frames of each token, before the block.

    ``x + W_up GELU(W_down attention(norm(x + p)))``, the attention being that of the block, with its norm, over the T frames of a clip
    separately for each of the L token positions: AIM (Yang et al., ICLR 2023), https://arxiv.org/abs/2302.03024, section 3.3. Without
    the learnable positions p of the frames, attention would not know their order. AIM adds them to the tokens once; here each block has
    its own, because an adapter knows its block alone. T may change, as for :class:`peclip.model.TransformerHead`. It starts as the
    identity.

    Args:
        width: D, the width of the tokens.
        reduction: D / R, how much narrower the bottleneck is; 1 to D.
        positions: number of learnable positions, best the T of the training; 1 to 10,000.

    Raises:
        InputError: an argument is out of range.
    """

    title = "AIM"
    takes: ClassVar[Takes] = "input"
    needs_place = True
    only_at = ("vision.block",)

    def __init__(self, width: int, reduction: int = 4, positions: int = 16) -> None:
        super().__init__()
        if not 1 <= positions <= MOST:
            raise InputError(f"AIMTemporalAdapter: positions is {shown(positions)}, expected 1 to {MOST:,}")
        hidden = bottleneck("AIMTemporalAdapter", width, reduction)
        self.positions = nn.Parameter(torch.empty(positions, width).normal_(std=0.02))
        self.down = nn.Linear(width, hidden)
        self.up = nn.Linear(hidden, width)
        zero(self.up)

    def forward(self, x: Tensor, frames: int, place: Place) -> Tensor:  # type: ignore[override]  # it needs its place
        """Adapt tokens, shape (B*T, L, D), over the ``frames`` = T frames of each clip."""
        tokens = rearrange(x, "(b t) l d -> (b l) t d", t=frames)
        attended = place.attend(tokens + at_frames(self.positions, frames).to(tokens.dtype))
        attended = rearrange(attended, "(b l) t d -> (b t) l d", l=x.shape[1])
        return x + self.up(F.gelu(self.down(attended)))


class AIMJointAdapter(Adapter):
    """Joint adaptation: a bottleneck beside the MLP of the block, ``MLP(n) + s * W_up GELU(W_down n)``.

    AIM (Yang et al., ICLR 2023), https://arxiv.org/abs/2302.03024, section 3.4. The spatial adapter between the two, on the output of
    the attention, is a :class:`peclip.model.SharedAdapter`. It starts as the identity.

    Args:
        width: D, the width of the tokens.
        reduction: D / R, how much narrower the bottleneck is; 1 to D.
        scale: s, the factor on the bottleneck; above 0.

    Raises:
        InputError: an argument is out of range.
    """

    title = "AIM"
    takes: ClassVar[Takes] = "both"
    token_wise = True

    def __init__(self, width: int, reduction: int = 4, scale: float = 0.5) -> None:
        super().__init__()
        hidden = bottleneck("AIMJointAdapter", width, reduction)
        if not 0 < scale <= LARGEST:
            raise InputError(
                f"AIMJointAdapter: scale is {shown(scale)}, expected a number above 0 and at most {LARGEST:g}"
            )
        self.scale = scale
        self.down = nn.Linear(width, hidden)
        self.up = nn.Linear(hidden, width)
        zero(self.up)

    def forward(self, x: Tensor, frames: int, entering: Tensor) -> Tensor:  # type: ignore[override]  # it takes both
        """Add the bottleneck of the sub-layer's input, (B*T, L, D), to its output; ``frames`` is not used."""
        return x + self.scale * self.up(F.gelu(self.down(entering)))
