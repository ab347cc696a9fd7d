"""The adapters of PE-CLIP: small residual modules that know neither a backbone nor Lightning.

An adapter processes the output of a frozen sub-layer and returns tokens of the same shape. Letters: B clips, T frames of a
clip, L tokens of a frame or text, D width, R = D / reduction.

They follow PE-CLIP (Saadi, Hadid, Cunningham, Taleb-Ahmed, El Hillali), https://arxiv.org/abs/2503.16945.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from peclip.errors import InputError, shown
from peclip.model.fast.gru import GRU

RNNS: dict[str, Callable[[int], nn.Module]] = {
    "gru": GRU,
    "lstm": lambda width: nn.LSTM(width, width, batch_first=True),
    "rnn": lambda width: nn.RNN(width, width, batch_first=True),
}

ALIGNED = 8
"""Widths of fast products in bf16 on GPUs are multiples of it."""


Takes = Literal["output", "input", "both"]
"""Argument of an adapter within its site, see :attr:`Adapter.takes`."""


@dataclass(frozen=True)
class Grid:
    """The patches among the tokens of a frame.

    Attributes:
        first: position of the first one.
        rows: number of rows; the patches of a row follow each other.
        columns: number of columns.
    """

    first: int
    rows: int
    columns: int


@dataclass(frozen=True)
class Place:
    """The surroundings of an adapter, for those that ask for them, see :attr:`Adapter.needs_place`.

    Attributes:
        grid: the patches of a frame; None in the text tower.
        attend: the frozen self-attention of the block with the norm before it, over any sequences, (N, L, D) -> (N, L, D).
    """

    grid: Grid | None
    attend: Callable[[Tensor], Tensor]


class Adapter(nn.Module):
    """Base class of adapters, your own included: tokens in, tokens of the same shape out.

    A subclass accepts the width D as its first argument, and configurations name it by its import path. An adapter in ten
    lines, tested by :func:`peclip.testing.check_adapter`::

        class Gate(Adapter):
            def __init__(self, width: int) -> None:
                super().__init__()
                self.gate = nn.Parameter(torch.zeros(width))

            def forward(self, x: Tensor, frames: int) -> Tensor:
                return x * (1 + self.gate)


        net = PEClip(labels, adapters={"vision.mlp[6:12]": Gate})
    """

    takes: ClassVar[Takes] = "output"
    """Tokens of its site that it adapts. ``output``: those that the sub-layer returns. ``input``: those that the sub-layer
    gets. ``both``: it adapts the output, and :meth:`forward` gets the input as a third argument."""

    needs_place: ClassVar[bool] = False
    """True if :meth:`forward` gets the :class:`Place` as its last argument."""

    title: ClassVar[str] = ""
    """Name in tables; empty for the name of the class. A derived class does not inherit it."""

    only_at: ClassVar[tuple[str, ...] | str] = ()
    """The sites that it is made for, or the name of the only one; any where empty."""

    token_wise: ClassVar[bool] = False
    """True if a token of the result depends only on the same token of the frames: then the last block, of which one token
    is used, need not compute the others. It holds for the class that states it, not for classes derived from it."""

    mixes_clips: bool = False
    """True if a token of a token-wise adapter also depends on the tokens at its place in other clips, or in other texts: the token
    that is used of a text is at another place in each."""

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Adapt the output of a sub-layer, or what else :attr:`takes` states.

        Args:
            x: tokens, shape (B*T, L, D), the frames of a clip one after the other.
            frames: T; 1 in the text tower.

        Returns:
            Tokens of the same shape.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward(x, frames)")


AdapterFactory = Callable[[int], Adapter]
"""Makes an adapter for tokens of a width; configurations name the class, and the model supplies the width."""


def is_token_wise(adapter: Adapter) -> bool:
    """Return whether the class of an adapter itself states that it is token-wise; a derived class may mix tokens."""
    return bool(vars(type(adapter)).get("token_wise", False))


class SharedAdapter(Adapter):
    """Shared adapter (ShA): a bottleneck on the output of every self-attention, with one design for both towers.

    ``x + W_up GELU(W_down x)``: PE-CLIP, https://arxiv.org/abs/2503.16945, section "Shared Adapter". With ``init="zero"``
    it starts as the identity.

    Args:
        width: D, the width of the tokens.
        reduction: D / R, how much narrower the bottleneck is; 1 to D.
        init: ``zero`` starts the up-projection at zero; ``default`` at random, as in the authors' program.

    Raises:
        InputError: the reduction is not between 1 and the width, or ``init`` is something else.
    """

    title = "ShA"
    token_wise = True

    def __init__(self, width: int, reduction: int = 8, init: Literal["zero", "default"] = "zero") -> None:
        super().__init__()
        _check_choice("init", init, ("zero", "default"))
        hidden = bottleneck(type(self).__name__, width, reduction)
        self.down = nn.Linear(width, hidden)
        self.up = nn.Linear(hidden, width)
        if init == "zero":
            zero(self.up)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Adapt tokens, shape (B*T, L, D), each by itself; ``frames`` is not used."""
        return x + self.up(F.gelu(self.down(x)))


class TextAdapter(SharedAdapter):
    """Text adapter (TA): the same bottleneck on the output of every MLP of the text tower.

    PE-CLIP, https://arxiv.org/abs/2503.16945, section "Text Adapter".
    """

    title = "TA"
    token_wise = True


class TemporalDynamicAdapter(Adapter):
    """Temporal dynamic adapter (TDA): lets every token see the same token of the clip's other frames.

    ``x + s * W_up GELU(GRU(W_down n))`` with ``n = LayerNorm(x)`` and one scale per token, ``s = ReLU(w n + b)``:
    PE-CLIP, https://arxiv.org/abs/2503.16945, section "Temporal Dynamic Adapter". The recurrence runs forward over the T
    frames, separately for each of the L token positions. It starts as the identity.

    Args:
        width: D, the width of the tokens.
        reduction: D / R, how much narrower the recurrence is; 1 to D.
        scope: ``clip`` runs the recurrence over the frames of one clip. ``batch`` runs it over all frames of all clips of
            the batch, as the authors' program does: the result of a clip then depends on the clips before it.
        rnn: the kind of recurrence.

    Raises:
        InputError: the reduction is not between 1 and the width, or ``scope`` or ``rnn`` is something else.
    """

    title = "TDA"
    token_wise = True

    def __init__(
        self,
        width: int,
        reduction: int = 8,
        scope: Literal["clip", "batch"] = "clip",
        rnn: Literal["gru", "lstm", "rnn"] = "gru",
    ) -> None:
        super().__init__()
        _check_choice("scope", scope, ("clip", "batch"))
        _check_choice("rnn", rnn, RNNS)
        hidden = bottleneck(type(self).__name__, width, reduction)
        self.scope, self.mixes_clips = scope, scope == "batch"
        self.norm = nn.LayerNorm(width)
        self.scale = nn.Linear(width, 1)
        self.down = nn.Linear(width, hidden)
        self.rnn = RNNS[rnn](hidden)
        self.up = nn.Linear(hidden, width)
        zero(self.up)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Adapt tokens, shape (B*T, L, D), over the ``frames`` = T frames of each clip.

        Most of the time goes into operations on all D channels of every token. So the scale is computed in the product
        that narrows the tokens, and applied in the one that widens them: ``s (W h + b) = (W|b) (s h|s)``. Zeros fill
        the widths of these products up to what GPUs multiply fast.
        """
        hidden = len(self.down.weight)
        spare = -(hidden + 1) % ALIGNED
        into = torch.cat([self.down.weight, self.scale.weight]), torch.cat([self.down.bias, self.scale.bias])
        weight, bias = F.pad(into[0], (0, 0, 0, spare)), F.pad(into[1], (0, spare))
        narrow, scale, _ = F.linear(self.norm(x), weight, bias).split((hidden, 1, spare), dim=-1)
        scale = F.relu(scale)  # (B*T, L, 1)
        states = F.gelu(self._over_time(narrow, frames))
        out_of = torch.cat([self.up.weight, self.up.bias[:, None]], dim=1)
        return x + F.linear(F.pad(torch.cat([scale * states, scale], dim=-1), (0, spare)), F.pad(out_of, (0, spare)))

    def scale_of(self, x: Tensor) -> Tensor:
        """Return the scale s of each token, (B*T, L, D) -> (B*T, L): 0 if the adapter changes nothing."""
        return rearrange(F.relu(self.scale(self.norm(x))), "n l 1 -> n l")

    def _over_time(self, x: Tensor, frames: int) -> Tensor:
        """Run the recurrence along time, (B*T, L, R) -> (B*T, L, R)."""
        steps = frames if self.scope == "clip" else x.shape[0]
        if isinstance(self.rnn, GRU) and torch.compiler.is_dynamo_compiling():  # then nothing needs to move
            return rearrange(self.rnn.unrolled(rearrange(x, "(b t) l r -> b t l r", t=steps)), "b t l r -> (b t) l r")
        hidden, _ = self.rnn(rearrange(x, "(b t) l r -> (b l) t r", t=steps))
        return rearrange(hidden, "(b l) t r -> (b t) l r", l=x.shape[1])


PE_CLIP: dict[str, AdapterFactory] = {
    "vision.attention": SharedAdapter,
    "vision.mlp": TemporalDynamicAdapter,
    "text.attention": SharedAdapter,
    "text.mlp": TextAdapter,
}
"""The adapters of the paper by site: ShA, TDA, ShA and TA, with reduction 8."""


def bottleneck(name: str, width: int, reduction: int, what: str = "the tower") -> int:
    """Return the width of a bottleneck in a part of that name.

    Raises:
        InputError: the reduction is not between 1 and the width, which is that of ``what``.
    """
    if not 1 <= reduction <= width:
        raise InputError(f"{name}: reduction is {shown(reduction)}, expected 1 to the width of {what}, {width}")
    return width // reduction


def _check_choice(argument: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:  # a misspelt word would otherwise select the other behaviour
        raise InputError(f"{argument} is {shown(value)}, expected {' or '.join(choices)}")


def zero(layer: nn.Linear) -> None:
    """Set the weights of a layer to zero, so that a branch that ends in it starts as nothing."""
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
