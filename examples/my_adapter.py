"""An adapter of your own: a gated low-rank update.

An adapter processes the output of a frozen layer and returns tokens of the same shape. peclip sets its first argument, the width
of the tower; the configuration sets the others. my_adapter.yaml puts this one into the last two blocks of the demo's CLIP;
in the folder of both files:

    PYTHONPATH=. peclip fit --config demo --config my_adapter.yaml
"""

import torch
from torch import Tensor, nn

from peclip.model import Adapter


class GatedLowRank(Adapter):
    """``x + tanh(g) * W_up W_down x``. The gate g starts at 0, so the adapter starts as the identity.

    Args:
        width: D, the width of the tokens.
        rank: width of the bottleneck; at least 1.
    """

    token_wise = True  # no token sees another one: the last block may compute the one token that is used of it

    def __init__(self, width: int, rank: int = 4) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, width, bias=False)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Adapt tokens (B*T, L, D); ``frames`` is T, for adapters that look along time."""
        return x + self.gate.tanh() * self.up(self.down(x))
