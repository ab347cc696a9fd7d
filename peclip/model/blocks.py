"""Run the blocks of a tower, as they are, compiled, or recomputed for the gradient; and keep the state of a pass for them."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from peclip.errors import InputError, in_one_line

Around = Callable[..., Any]
"""Function that runs a block, its first argument, with the arguments that follow."""

MOST_KINDS = 256
"""Kinds of blocks that may be compiled in a process, of all models together; more run as they are."""


class Flow(threading.local):
    """State that the hooks of one tower read while it runs; set before each pass.

    Each thread has its own, so that threads may share a model. Defaults are not in the class: torch.compile would read them there.

    Attributes:
        frames: T, the frames of a clip.
        prompts: one (P, D) per depth; empty without prompts.
        last: the last tokens of a sequence, P, if nothing learns before the first block but they; 0 if something may.
        whole: whether all tokens are asked for, also those of the last block that no feature is read from.
    """

    def __init__(self, frames: int = 1, prompts: Sequence[Tensor] = ()) -> None:
        self.frames, self.prompts, self.last, self.whole = frames, prompts, 0, False

    def __reduce__(self) -> tuple[type["Flow"], tuple[()]]:
        """Copy as an empty flow: copies do not share the state of a pass, which may hold a graph that cannot be copied."""
        return Flow, ()


@dataclass(frozen=True)
class BlockExecution:
    """Execution of the blocks of a tower; the function is the same within rounding.

    Attributes:
        compile: whether torch.compile runs them.
        checkpointing: whether a block keeps only its input for the gradient and recomputes the rest.
        activation_memory_budget: share of what a compiled block keeps for the gradient by default, above 0 and up to 1; the
            operations that cost least are recomputed to stay within it.
        draws: whether blocks draw random numbers, which are then the same when checkpointing recomputes them.
    """

    compile: bool = False
    checkpointing: bool = False
    activation_memory_budget: float = 1.0
    draws: bool = False

    def __post_init__(self) -> None:
        """Check the budget.

        Raises:
            InputError: it is out of range, or blocks are not compiled, or they draw random numbers: torch would draw others
                where it recomputes them, and the gradients would be wrong.
        """
        budget = self.activation_memory_budget
        if not 0 < budget <= 1:
            raise InputError(
                f"activation_memory_budget is {budget:g}, expected above 0 and at most 1", "activation_memory_budget"
            )
        if budget < 1 and not self.compile:
            raise InputError(
                f"activation_memory_budget is {budget:g}, but compile is false, and only compiled blocks have a budget; set "
                "compile to true, or save memory with checkpointing",
                "activation_memory_budget",
            )
        if budget < 1 and self.draws:
            raise InputError(
                f"activation_memory_budget is {budget:g}, but the model has dropout or a part of another package, and torch would "
                "draw other random numbers where it recomputes them; save memory with checkpointing",
                "activation_memory_budget",
            )


PLAIN = BlockExecution()
"""Blocks run as they are."""


class BlockForward:
    """Replaces the ``forward`` of a block, to run it with its adapters compiled or recomputed for the gradient.

    An adapter of the whole block acts within it, so that it is compiled and recomputed with the block.
    """

    def __init__(self, block: nn.Module, flow: Flow, execution: BlockExecution, around: Around | None) -> None:
        self.block, self.flow, self.execution, self.around = block, flow, execution, around
        self._forward: Callable[..., Any] | None = None
        block.forward = self

    def remove(self) -> None:
        """Restore the block's own ``forward``."""
        del self.block.forward

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Run the block.

        Raises:
            InputError: it cannot be compiled on this machine.
        """
        if self._forward is None:
            own: Callable[..., Any] = MethodType(type(self.block).forward, self.block)
            own = partial(self.around, own) if self.around else own
            self._forward = _compiled(own, self.execution.activation_memory_budget) if self.execution.compile else own
        try:
            if not (self.execution.checkpointing and torch.is_grad_enabled()):
                return self._forward(*args, **options)
            again = partial(self._as_in, self.flow.frames, self.flow.last)
            return checkpoint(again, *args, use_reentrant=False, preserve_rng_state=self.execution.draws, **options)
        except RuntimeError as error:
            if not (self.execution.compile and _is_of_the_compiler(error)):
                raise
            raise InputError(
                f"compile is true, but blocks cannot be compiled here: {in_one_line(error)}; set it to false, or install "
                "what is missing",
                "compile",
            ) from error

    def _as_in(self, frames: int, last: int, *args: Any, **options: Any) -> Any:
        """Run with the state of the forward pass, which may be over when the block is recomputed for the gradient."""
        assert self._forward
        now = self.flow.frames, self.flow.last
        self.flow.frames, self.flow.last = frames, last
        try:
            return self._forward(*args, **options)
        finally:
            self.flow.frames, self.flow.last = now

    def __getstate__(self) -> dict[str, Any]:
        """Omit the compiled function, which a copy cannot take over."""
        return self.__dict__ | {"_forward": None}


def _compiled(own: Callable[..., Any], budget: float) -> Callable[..., Any]:
    """Compile the forward of a block, which then keeps the share ``budget`` of its activations.

    By default torch does not look at hooks when it looks for a compiled block to use again: a model with parts would compute as one
    without, which was compiled before it in the same process. Blocks of many models then share the code of one ``forward``.
    """
    torch._dynamo.config.skip_nnmodule_hook_guards = False
    torch._dynamo.config.recompile_limit = MOST_KINDS
    compiled = torch.compile(own)
    if budget == 1:
        return compiled
    # torch reads the budget when it compiles, which is in the first call with new shapes.
    return torch._functorch.config.patch(activation_memory_budget=budget)(compiled)


def _is_of_the_compiler(error: RuntimeError) -> bool:
    from torch._inductor.exc import InductorError  # importing it takes a while, and only compiled models need it

    return isinstance(error, InductorError)
