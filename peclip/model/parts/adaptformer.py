"""AdaptFormer: a bottleneck beside every MLP."""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from peclip.errors import LARGEST, InputError, shown
from peclip.model.parts.adapters import Adapter, Takes, zero


class AdaptFormer(Adapter):
    """AdaptFormer: a bottleneck parallel to a sub-layer, in the paper the MLP of every block of the vision tower.

    ``MLP(n) + s * W_up ReLU(W_down n)``, where n is the normalised input of the MLP: AdaptFormer (Chen et al., NeurIPS 2022),
    https://arxiv.org/abs/2205.13535, section 3.2. It starts as the identity, and knows nothing of time.

    Args:
        width: D, the width of the tokens.
        hidden: width of the bottleneck; at least 1.
        scale: s, the factor on the bottleneck; above 0.

    Raises:
        InputError: an argument is out of range.
    """

    takes: ClassVar[Takes] = "both"
    token_wise = True

    def __init__(self, width: int, hidden: int = 64, scale: float = 0.1) -> None:
        super().__init__()
        if hidden < 1:
            raise InputError(f"AdaptFormer: hidden is {shown(hidden)}, expected at least 1")
        if not 0 < scale <= LARGEST:
            raise InputError(f"AdaptFormer: scale is {shown(scale)}, expected a number above 0 and at most {LARGEST:g}")
        self.scale = scale
        self.down = nn.Linear(width, hidden)
        self.up = nn.Linear(hidden, width)
        nn.init.kaiming_normal_(self.down.weight)
        nn.init.zeros_(self.down.bias)
        zero(self.up)

    def forward(self, x: Tensor, frames: int, entering: Tensor) -> Tensor:  # type: ignore[override]  # it takes both
        """Add the bottleneck of the sub-layer's input, (B*T, L, D), to its output; ``frames`` is not used."""
        return x + self.scale * self.up(F.relu(self.down(entering)))
