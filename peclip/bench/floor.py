"""The floor of a step: the time below which no implementation of the same operations can come on a device.

Matrix products and attention cannot take less time than their operations do at the device's rate of matrix multiplication, and their
operands and results cannot move faster than the device copies memory. The difference between floor and step is due to other
operations (norms, activations, sums), products too small for the full rate, and calls.
"""

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from peclip.bench.measure import median_seconds

COPIED = {"cpu": 2**28, "cuda": 2**31}
"""Bytes of the tensor whose copy gives the rate of memory: far more than a cache holds."""

PARTS_OF_ATTENTION = ("aten.bmm", "aten.baddbmm")
"""Products of batches, of which attention consists if no fused kernel runs, as on the meta device."""


@dataclass(frozen=True)
class Work:
    """Work of a step.

    Attributes:
        products: floating-point operations of matrix products and convolutions.
        attention: floating-point operations of the products of queries, keys and values; see :func:`is_attention`.
        elements: number of elements of the operands and results of both, each read or written once by every product. The
            attention matrix is excluded, because fused kernels never write it to memory.
    """

    products: int
    attention: int
    elements: int


@dataclass(frozen=True)
class Floor:
    """The least time of a step, in seconds.

    Attributes:
        products: time for matrix products and convolutions.
        attention: time for the products of queries, keys and values.
        traffic: time for moving the operands and results of both.
    """

    products: float
    attention: float
    traffic: float

    @property
    def step(self) -> float:
        """The least time of the step, if the device moves memory while it multiplies."""
        return max(self.products + self.attention, self.traffic)


class Counter:
    """Counts the work of the operations within its context, on any device; on the meta device nothing is computed."""

    def __init__(self) -> None:
        self._mode = _Mode()

    def __enter__(self) -> Self:
        self._mode.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._mode.__exit__(kind, error, traceback)

    @property
    def work(self) -> Work:
        """The work that has been counted."""
        return Work(self._mode.products, self._mode.attention, self._mode.elements)


class _Mode(TorchDispatchMode):
    """Intercepts every operation of torch, including those of the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.products = self.attention = self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            flops = count(*args, **(kwargs or {}), out_val=out)
            moved = [each.numel() for each in tree_leaves((args, kwargs, out)) if isinstance(each, Tensor)]
            if (name := str(func._overloadpacket)) in PARTS_OF_ATTENTION:
                moved.remove(max(moved))  # the attention matrix, which a fused kernel never writes
            if is_attention(name):
                self.attention += flops
            else:
                self.products += flops
            self.elements += sum(moved)
        return out


def is_attention(operation: str) -> bool:
    """Return whether an operation multiplies queries, keys and values: torch's own attention, or products of batches."""
    return "attention" in operation or operation in PARTS_OF_ATTENTION


def floor_of(work: Work, matmul: float, memory: float, size: int) -> Floor:
    """Return the floor of a step.

    Args:
        work: work of the step.
        matmul: rate of matrix multiplication, in operations a second.
        memory: bytes a second that the device reads and writes.
        size: bytes of an element.
    """
    return Floor(work.products / matmul, work.attention / matmul, work.elements * size / memory)


def memory_rate(device: torch.device) -> float:
    """Return the bytes that a device reads and writes in a second while it copies a large tensor, by the median copy."""
    source = torch.zeros(COPIED[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / median_seconds(lambda: target.copy_(source), device)
