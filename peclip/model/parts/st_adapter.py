"""ST-Adapter: a bottleneck with a convolution over time and space."""

from typing import ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from peclip.errors import InputError, shown
from peclip.model.parts.adapters import Adapter, Place, Takes, bottleneck, zero

MOST = 99
"""Largest kernel of a convolution."""


class STAdapter(Adapter):
    """Spatio-temporal adapter: a bottleneck with a depth-wise 3-D convolution over the patches of a clip, before each block.

    ``x + W_up GELU(conv(W_down x))``: ST-Adapter (Pan et al., NeurIPS 2022), https://arxiv.org/abs/2206.13559, section 3.3.
    The convolution runs over time, rows and columns. The class token and prompts have no place there, and pass unchanged. It
    starts as the identity.

    Args:
        width: D, the width of the tokens.
        reduction: D / R, how much narrower the convolution is; 1 to D.
        kernel_time: frames of its kernel; an odd number, 1 to 99.
        kernel_space: rows and columns of its kernel; an odd number, 1 to 99. With 1, a patch sees itself in other frames alone.

    Raises:
        InputError: an argument is out of range.
    """

    title = "ST-Adapter"
    takes: ClassVar[Takes] = "input"
    needs_place = True
    only_at = ("vision.block", "vision.attention", "vision.mlp")

    def __init__(self, width: int, reduction: int = 2, kernel_time: int = 3, kernel_space: int = 1) -> None:
        super().__init__()
        hidden = bottleneck("STAdapter", width, reduction)
        for name, value in {"kernel_time": kernel_time, "kernel_space": kernel_space}.items():
            if not 1 <= value <= MOST or value % 2 == 0:
                raise InputError(f"STAdapter: {name} is {shown(value)}, expected an odd number from 1 to {MOST}")
        kernel = (kernel_time, kernel_space, kernel_space)
        self.down = nn.Linear(width, hidden)
        self.conv = nn.Conv3d(hidden, hidden, kernel, groups=hidden)
        # Zeros around the volume. A convolution that adds them itself has wrong gradients on CPUs in bf16 where its kernel is larger
        # than the volume: where T is 2 and the kernel 3, for example.
        self._around = [size // 2 for size in reversed(kernel) for _ in range(2)]
        self.up = nn.Linear(hidden, width)
        zero(self.up)

    def forward(self, x: Tensor, frames: int, place: Place) -> Tensor:  # type: ignore[override]  # it needs its place
        """Adapt the patches among tokens, shape (B*T, L, D)."""
        grid = place.grid
        assert grid is not None
        before, patches, after = x.tensor_split((grid.first, grid.first + grid.rows * grid.columns), dim=1)
        volume = rearrange(self.down(patches), "(b t) (h w) r -> b r t h w", t=frames, h=grid.rows, w=grid.columns)
        mixed = rearrange(self.conv(F.pad(volume, self._around)), "b r t h w -> (b t) (h w) r")
        return torch.cat([before, patches + self.up(F.gelu(mixed)), after], dim=1)
