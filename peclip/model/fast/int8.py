"""Frozen linear layers whose products are in 8-bit integers, on CPUs.

Weights are quantised once, each row with a scale of its own; inputs at every call, with one scale and one zero point for all
values (dynamic quantisation). Everything else stays in fp32.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, TypeVar, cast
from warnings import catch_warnings, simplefilter

import torch
from torch import Tensor, nn

from peclip.errors import InputError
from peclip.model.network import Network

ENGINES = ("onednn", "x86", "fbgemm", "qnnpack")
"""torch's engines for such products, the best first; the first uses whichever units a CPU has for them."""

_LARGEST = 127  # of the integers that stand for weights

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


def available() -> list[str]:
    """Return torch's engines for int8 on this machine, the best first."""
    has_all = hasattr(torch, "quantize_per_channel") and hasattr(torch.ops.quantized, "linear_dynamic")
    return [engine for engine in ENGINES if has_all and engine in torch.backends.quantized.supported_engines]


def in_int8(net: Model) -> Model:
    """Return a copy of a model on the CPU whose frozen image tower multiplies in int8; its other weights are shared.

    An input is quantised with one scale for all that is computed at once: a clip's result is independent of others if it is alone.

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
    for block in copy.backbone.towers["vision"].blocks:
        for module in block.modules():
            if type(module) is nn.Linear:
                module.__class__ = Int8Linear
                cast(Int8Linear, module).pack()
    return copy


@contextmanager
def _engine(name: str) -> Iterator[None]:
    before, torch.backends.quantized.engine = torch.backends.quantized.engine, name
    try:
        yield
    finally:
        torch.backends.quantized.engine = before
