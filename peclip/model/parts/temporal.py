"""Temporal heads: one feature of a clip from the features of its frames."""

from typing import ClassVar

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F

from peclip.errors import InputError, shown
from peclip.model.fast.gru import GRU
from peclip.model.parts.adapters import bottleneck, zero

MOST = 10_000
"""Largest number of positions, as that of the frames of a clip, and of layers."""


class TemporalHead(nn.Module):
    """Base class of temporal heads, your own included: the features of T frames in, one feature of the clip out.

    A subclass accepts the width D of the features as its first argument, and configurations name it by its import path. The
    features are those that the backbone shares with texts, not normalised. :func:`peclip.testing.check_temporal_head` tests one.
    """

    title: ClassVar[str] = ""
    """Name in tables; empty for the name of the class. A derived class does not inherit it."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the features (B, D) of clips from those of their frames, (B, T, D); T may change from batch to batch.

        Raises:
            NotImplementedError: the subclass has none.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward(x)")


class MeanPool(TemporalHead):
    """The mean over the frames, as in PE-CLIP; it has no parameters, and the order of the frames has no effect.

    Args:
        width: D, of the features; not used.
    """

    def __init__(self, width: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean over the frames, (B, T, D) -> (B, D)."""
        return x.mean(dim=1)


class AttentionPool(TemporalHead):
    """Frame attention: a weighted mean over the frames; their order has no effect.

    ``sum(a_t b_t x_t) / sum(a_t b_t)``, with a weight of each frame by itself, ``a_t = sigmoid(q x_t)``, and one of the frame
    beside the mean that they make, ``b_t = sigmoid(r [x_t, m])``, ``m = sum(a_t x_t) / sum(a_t)``: FAN (Meng et al., ICIP 2019),
    https://arxiv.org/abs/1907.00193, section 2. The frames alone are averaged, not joined with m as there, so that the feature
    stays in the space of the texts. It starts as the mean.

    Args:
        width: D, of the features.
    """

    title = "attention pooling"

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alone = nn.Parameter(torch.zeros(width))
        self.beside = nn.Parameter(torch.zeros(2 * width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted mean over the frames, (B, T, D) -> (B, D)."""
        alone = torch.sigmoid(x @ self.alone.to(x.dtype))  # (B, T)
        mean = repeat(_weighted(x, alone), "b d -> b t d", t=x.shape[1])
        beside = torch.sigmoid(torch.cat([x, mean], dim=-1) @ self.beside.to(x.dtype))
        return _weighted(x, alone * beside)


class GRUHead(TemporalHead):
    """A GRU over the frames: ``mean(x_t) + W_up h_T``, h_T being its last state over ``W_down LayerNorm(x_t)``.

    The recurrent heads of the field, with the unit of Cho et al. (EMNLP 2014), https://arxiv.org/abs/1406.1078, section 2.3. The
    mean, to which its state is added, lets it start as zero-shot CLIP.

    Args:
        width: D, of the features.
        reduction: D / R, how much narrower the recurrence is; 1 to D.

    Raises:
        InputError: the reduction is out of range.
    """

    title = "GRU head"

    def __init__(self, width: int, reduction: int = 1) -> None:
        super().__init__()
        hidden = bottleneck("GRUHead", width, reduction, "the features")
        self.norm = nn.LayerNorm(width)
        self.down = nn.Linear(width, hidden)
        self.rnn = GRU(hidden)
        self.up = nn.Linear(hidden, width)
        zero(self.up)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of clips, (B, T, D) -> (B, D)."""
        hidden, _ = self.rnn(self.down(self.norm(x)))
        return x.mean(dim=1) + self.up(hidden[:, -1])


class TransformerHead(TemporalHead):
    """A transformer over the frames and a token of its own: ``mean(x_t) + W z``, z being what becomes of that token.

    The temporal model of DFER-CLIP (Zhao and Patras, BMVC 2023), https://arxiv.org/abs/2308.13382, section 3: learnable positions, and
    a learnable class token. The mean, to which its result is added, is not there: it lets the head start as zero-shot CLIP.
    Positions are places within the clip, so that T may change: between two of them they are interpolated.

    Args:
        width: D, of the features.
        depth: number of layers; 1 to 10,000.
        heads: attention heads of a layer; D is a multiple of it.
        positions: number of learnable positions, best the T of the training; 1 to 10,000.

    Raises:
        InputError: an argument is out of range.
    """

    title = "transformer head"

    def __init__(self, width: int, depth: int = 1, heads: int = 8, positions: int = 16) -> None:
        super().__init__()
        for name, value in {"depth": depth, "positions": positions}.items():
            if not 1 <= value <= MOST:
                raise InputError(f"TransformerHead: {name} is {shown(value)}, expected 1 to {MOST:,}")
        if heads < 1 or width % heads:
            raise InputError(
                f"TransformerHead: heads is {shown(heads)}, expected a divisor of the width of the features, {width}"
            )
        self.token = nn.Parameter(torch.empty(width).normal_(std=0.02))
        self.positions = nn.Parameter(torch.empty(positions, width).normal_(std=0.02))
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)
        zero(self.out)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of clips, (B, T, D) -> (B, D)."""
        token = repeat(self.token, "d -> b 1 d", b=x.shape[0])
        tokens = torch.cat([token, x + at_frames(self.positions, x.shape[1])], dim=1)
        for layer in self.layers:
            tokens = layer(tokens)
        return x.mean(dim=1) + self.out(self.norm(tokens[:, 0]))


class Layer(nn.Module):
    """A layer of a transformer that normalises before its two branches.

    Args:
        width: D, of the tokens.
        heads: attention heads, a divisor of D.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of the same shape, (N, L, D)."""
        query, key, value = rearrange(
            self.qkv(self.norm1(x)), "n l (three h d) -> three n h l d", three=3, h=self.heads
        ).unbind()
        attended = F.scaled_dot_product_attention(query, key, value)
        x = x + self.out(rearrange(attended, "n h l d -> n l (h d)"))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


def at_frames(positions: Tensor, frames: int) -> Tensor:
    """Return learnable positions (P, D) at the middles of T equal segments of a clip, (T, D), interpolated between two of them."""
    count = len(positions)
    at = (torch.arange(frames, device=positions.device) + 0.5) * (count / frames) - 0.5
    distance = at.clamp(0, count - 1)[:, None] - torch.arange(count, device=positions.device)
    return F.relu(1 - distance.abs()).to(positions.dtype) @ positions


def _weighted(x: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean over the frames, (B, T, D) and (B, T) -> (B, D)."""
    return (weights[..., None] * x).sum(dim=1) / weights.sum(dim=1, keepdim=True)
