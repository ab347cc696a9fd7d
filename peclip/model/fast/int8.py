"""Frozen linear layers whose products are in 8-bit integers, on CPUs.

Weights are quantised once, each row with a scale of its own; inputs at every product, with one scale and one zero point for all
values (dynamic quantisation). Everything else stays in fp32. Each layer of a block computes a few frames after the others.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, TypeVar, cast
from warnings import catch_warnings, simplefilter

import torch
from einops import rearrange
from torch import Tensor, nn

from peclip.errors import InputError
from peclip.model.backbones.contract import PARTS
from peclip.model.backbones.layers import OneTokenAttention, attend
from peclip.model.fast.frozen import FACTOR, QuickGELU
from peclip.model.network import Network

ENGINES = ("onednn", "x86", "fbgemm", "qnnpack")
"""torch's engines for such products, the best first; the first uses whichever units a CPU has for them."""

ROWS = 400
"""Approximate number of tokens that a layer of a block computes at a time; their inputs share a scale. Its results then stay in
the caches of a core; of 16 frames in ViT-B/16 it would have 39 MB."""

_LARGEST = 127  # largest integer that stands for a weight

Model = TypeVar("Model", bound=Network)


class Int8Linear(nn.Linear):
    """A linear layer in int8. A frozen layer becomes one in place, so that hooks on it stay."""

    engine: str

    def forward(self, input: Tensor) -> Tensor:
        """Compute the layer, (..., D) -> (..., D')."""
        # Without VNNI two products are added in 16 bits, for which inputs must have 7.
        narrow = not torch.cpu._is_vnni_supported() and self.engine != "qnnpack"
        return torch.ops.quantized.linear_dynamic(input.float(), self.packed, narrow)

    @torch.no_grad()
    def pack(self) -> None:
        """Quantise the weights, and drop them."""
        weight = self.weight.float()
        scales = weight.abs().amax(dim=1).clamp(min=1e-12).double() / _LARGEST
        zeros = torch.zeros(len(weight), dtype=torch.long)
        with catch_warnings():
            simplefilter("ignore", UserWarning)  # a later torch may lack it; then the option is refused
            integers = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        self.engine = available()[0]
        with _engine(self.engine):
            self.packed: Any = torch.ops.quantized.linear_prepack(integers, self.bias)
        del self.weight, self.bias


class InPieces(nn.Module):
    """Base beside the class of an attention or an MLP, which then computes some sequences after the others."""

    def forward(self, hidden_states: Tensor, *args: Any, **options: Any) -> Any:
        """Compute the layer of tokens (N, L, D)."""
        out, first = torch.empty(0), 0
        for piece in hidden_states.split(max(1, ROWS // hidden_states.shape[1])):
            made: Any = super().forward(piece, *args, **options)
            tokens = made if isinstance(made, Tensor) else made[0]
            if first == 0:
                out = tokens.new_empty(len(hidden_states), *tokens.shape[1:])
            out[first : first + len(piece)] = tokens
            first += len(piece)
        return out if isinstance(made, Tensor) else (out, *made[1:])


class JointAttention(nn.Module):
    """Base beside the class of an attention of all tokens, whose three products of them become one: they are quantised once."""

    q_proj: nn.Linear
    k_proj: nn.Linear
    v_proj: nn.Linear
    joint: nn.Linear
    out_proj: nn.Linear
    head_dim: int
    scale: float

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, **options: Any) -> Any:
        """Attend, (N, L, D) -> (N, L, D)."""
        query, key, value = rearrange(self.joint(hidden_states), "n l (of h d) -> of n h l d", of=3, d=self.head_dim)
        out, weights = attend(self, query, key, value, attention_mask, self.scale, is_causal=False)
        return self.out_proj(rearrange(out, "n l h d -> n l (h d)")), weights

    @torch.no_grad()
    def join(self) -> None:
        """Make one layer of three, and drop them."""
        layers = [self.q_proj, self.k_proj, self.v_proj]
        with torch.device("meta"):
            self.joint = nn.Linear(self.q_proj.in_features, 3 * self.q_proj.out_features)
        self.joint.weight, self.joint.bias = (
            nn.Parameter(torch.cat([getattr(layer, name) for layer in layers]), requires_grad=False)
            for name in ("weight", "bias")
        )
        del self.q_proj, self.k_proj, self.v_proj


def available() -> list[str]:
    """Return torch's engines for int8 on this machine, the best first."""
    has_all = hasattr(torch, "quantize_per_channel") and hasattr(torch.ops.quantized, "linear_dynamic")
    return [engine for engine in ENGINES if has_all and engine in torch.backends.quantized.supported_engines]


def in_int8(net: Model) -> Model:
    """Return a copy of a model on the CPU whose frozen image tower multiplies in int8; its other weights are shared.

    Frames that are computed together share a scale: a clip's result is independent of others if it is alone.

    Raises:
        InputError: torch has no engine for it here, or layers of PEFT stand around those of the tower.
    """
    if not available():
        raise InputError("precision int8: this build of torch has no engine for it: use 32-true", "precision")
    if len(net.peft):
        raise InputError(
            "precision int8: the model has layers of PEFT, which need the weights of CLIP: use 32-true", "precision"
        )
    copy = deepcopy(net, {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())})
    tower = copy.backbone.towers["vision"]
    for number, block in enumerate(tower.blocks):
        attention: Any = tower.part("attention", number)
        if not isinstance(attention, OneTokenAttention):
            _mix(attention, JointAttention)
            attention.join()
        for module in block.modules():
            if isinstance(getattr(module, "activation_fn", None), QuickGELU):
                _fold(module)
            if type(module) is nn.Linear:
                module.__class__ = Int8Linear
                cast(Int8Linear, module).pack()
        for name in PARTS:
            _mix(tower.part(name, number), InPieces)
    return copy


def _mix(layer: Any, base: type[nn.Module]) -> None:
    layer.__class__ = type(f"{base.__name__}{type(layer).__name__}", (base, type(layer)), {})


@torch.no_grad()
def _fold(mlp: Any) -> None:
    """Let ``x sigmoid(c x)`` between two layers be ``y sigmoid(y)``, which is one pass: they get the factors, not their rounding."""
    mlp.fc1.weight, mlp.fc1.bias, mlp.fc2.weight = (
        nn.Parameter(weight * factor, requires_grad=False)
        for weight, factor in ((mlp.fc1.weight, FACTOR), (mlp.fc1.bias, FACTOR), (mlp.fc2.weight, 1 / FACTOR))
    )
    mlp.activation_fn = nn.SiLU(inplace=True)


@contextmanager
def _engine(name: str) -> Iterator[None]:
    before, torch.backends.quantized.engine = torch.backends.quantized.engine, name
    try:
        yield
    finally:
        torch.backends.quantized.engine = before
