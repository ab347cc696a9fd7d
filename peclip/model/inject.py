"""Attach adapters and prompts to the towers of a frozen backbone with hooks, and detach them.

This is the only file with hooks. The execution of blocks, compiled or recomputed for the gradient, is attached with them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MethodType
from typing import Any, Protocol

import torch
from einops import repeat
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from peclip.errors import InputError, in_one_line
from peclip.model.backbones.contract import Tower
from peclip.model.parts.adapters import Adapter, Place, is_token_wise

BLOCK = "block"
"""Part of a site that is a whole block."""

GATHERING = ("attention", BLOCK)
"""Parts of a block that get all tokens even where the last block computes one alone."""

MOST_KINDS = 256
"""Kinds of blocks that may be compiled in a process, of all models together; more run as they are."""


@dataclass
class Flow:
    """State that the hooks of one tower read while it runs; set before each pass.

    Attributes:
        frames: T, the frames of a clip.
        prompts: one (P, D) per depth; empty without prompts.
    """

    frames: int = 1
    prompts: Sequence[Tensor] = ()


@dataclass(frozen=True)
class Run:
    """Execution of the blocks of a tower; the function is the same within rounding.

    Attributes:
        compile: whether torch.compile runs them.
        checkpointing: whether a block keeps only its input for the gradient and recomputes the rest.
        draws: whether blocks draw random numbers, which are then the same when they are recomputed.
    """

    compile: bool = False
    checkpointing: bool = False
    draws: bool = False


class Handle(Protocol):
    """Undoes what :func:`attach` did at one place."""

    def remove(self) -> None:
        """Restore the state before."""


def attach(
    tower: Tower, adapters: Mapping[tuple[str, int], Adapter], depth: int, flow: Flow, run: Run = Run()
) -> list[Handle]:
    """Hook adapters and prompts into a tower.

    Args:
        tower: where they go.
        adapters: by (part, block), the part being ``attention``, ``mlp`` or ``block``.
        depth: at how many depths ``flow.prompts`` enter; 0 for none.
        flow: read by the hooks at every pass.
        run: how the blocks run.

    Returns:
        The handles; removing them all restores the bare tower exactly.
    """
    calls = {where: _Call(adapter, flow, tower.place(where[1])) for where, adapter in adapters.items()}
    handles: list[Handle] = [
        _hook(tower.part(part, block), call) for (part, block), call in calls.items() if part != BLOCK
    ]
    if depth:
        at = tower.prompts_at
        enter = _append if at is None else partial(_overwrite, at)
        replace = _replace_last if at is None else partial(_replace_first, at)
        handles.append(tower.entrance.register_forward_hook(partial(enter, flow)))
        # First of all hooks: FSDP's, for example, pass on views that cannot be written to.
        handles += [
            tower.blocks[block].register_forward_pre_hook(partial(replace, flow, block), prepend=True)
            for block in range(1, depth)
        ]
    around = {block: call for (part, block), call in calls.items() if part == BLOCK}
    handles += [
        BlockForward(block, flow, run, around.get(number))
        for number, block in enumerate(tower.blocks)
        if run.compile or run.checkpointing or number in around
    ]
    return handles


def watch(module: nn.Module, see: Callable[[Any, Any], None]) -> Handle:
    """Call a function with the arguments and the output of a module at every pass, until the handle is removed."""

    def hook(module: nn.Module, args: Any, output: Any) -> None:
        see(args, output)

    return module.register_forward_hook(hook)


def uses_one_token(tower: Tower, adapters: Mapping[tuple[str, int], Adapter]) -> bool:
    """Return whether the last block of a tower may compute one token alone, because no adapter in it needs others."""
    last = len(tower.blocks) - 1
    return all(_needs_one_token(part, adapter) for (part, block), adapter in adapters.items() if block == last)


def _needs_one_token(part: str, adapter: Adapter) -> bool:
    """Return whether an adapter of the last block is the same if that block computes one token alone."""
    if part in GATHERING and adapter.takes != "output":  # they get all tokens, and return one
        return adapter.takes == "input"
    return is_token_wise(adapter)


@dataclass(frozen=True)
class _Call:
    """Calls an adapter with the T of the pass, and what else it needs."""

    adapter: Adapter
    flow: Flow
    place: Place

    def __call__(self, x: Tensor, *entering: Tensor) -> Tensor:
        place = (self.place,) if self.adapter.needs_place else ()
        adapted: Tensor = self.adapter(x, self.flow.frames, *entering, *place)
        return adapted


def _hook(module: nn.Module, call: _Call) -> Handle:
    """Hook an adapter to a sub-layer, at what it takes of it."""
    if call.adapter.takes == "input":
        return module.register_forward_pre_hook(partial(_adapt_input, call), with_kwargs=True)
    if call.adapter.takes == "both":
        return module.register_forward_hook(partial(_adapt_both, call), with_kwargs=True)
    return module.register_forward_hook(partial(_adapt, call))


class LayerForward:
    """Replaces the ``forward`` of a frozen layer: a linear one by a layer of PEFT around it, a norm by a copy that trains."""

    def __init__(self, frozen: nn.Module, layer: nn.Module) -> None:
        self.frozen = frozen
        frozen.forward = layer.forward

    def remove(self) -> None:
        """Restore the layer's own ``forward``."""
        del self.frozen.forward


class BlockForward:
    """Replaces the ``forward`` of a block, to run it with its adapters compiled or recomputed for the gradient.

    An adapter of the whole block acts within it, so that it is compiled and recomputed with the block.
    """

    def __init__(self, block: nn.Module, flow: Flow, run: Run, around: _Call | None = None) -> None:
        self.block, self.flow, self.run, self.around = block, flow, run, around
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
            own = partial(_adapt_block, self.around, own) if self.around else own
            self._forward = _compiled(own) if self.run.compile else own
        try:
            if not (self.run.checkpointing and torch.is_grad_enabled()):
                return self._forward(*args, **options)
            again = partial(self._with_frames, self.flow.frames)
            return checkpoint(again, *args, use_reentrant=False, preserve_rng_state=self.run.draws, **options)
        except RuntimeError as error:
            if not (self.run.compile and _is_of_the_compiler(error)):
                raise
            raise InputError(
                f"compile is true, but blocks cannot be compiled here: {in_one_line(error)}; set it to false, or install "
                "what is missing",
                "compile",
            ) from error

    def _with_frames(self, frames: int, *args: Any, **options: Any) -> Any:
        """Run with the T of the forward pass, which may be over when the block is recomputed for the gradient."""
        assert self._forward
        now, self.flow.frames = self.flow.frames, frames
        try:
            return self._forward(*args, **options)
        finally:
            self.flow.frames = now

    def __getstate__(self) -> dict[str, Any]:
        """Omit the compiled function, which a copy cannot take over."""
        return self.__dict__ | {"_forward": None}


def _compiled(own: Callable[..., Any]) -> Callable[..., Any]:
    """Compile the forward of a block.

    By default torch does not look at hooks when it looks for a compiled block to use again: a model with parts would compute as one
    without, which was compiled before it in the same process. Blocks of many models then share the code of one ``forward``.
    """
    torch._dynamo.config.skip_nnmodule_hook_guards = False
    torch._dynamo.config.recompile_limit = MOST_KINDS
    return torch.compile(own)


def _is_of_the_compiler(error: RuntimeError) -> bool:
    from torch._inductor.exc import InductorError  # importing it takes a while, and only compiled models need it

    return isinstance(error, InductorError)


def _adapt_block(call: _Call, own: Callable[..., Any], tokens: Tensor, *args: Any, **options: Any) -> Any:
    """Run a block with an adapter of the whole block."""
    if call.adapter.takes == "input":
        return own(call(tokens), *args, **options)
    leaving = own(tokens, *args, **options)
    return call(leaving, tokens) if call.adapter.takes == "both" else call(leaving)


def _adapt(call: _Call, module: nn.Module, args: Any, output: Any) -> Any:
    """Adapt the output of a sub-layer, which is a tensor (MLP) or a tuple that starts with one (attention)."""
    if isinstance(output, tuple):
        return (call(output[0]), *output[1:])
    return call(output)


def _adapt_input(call: _Call, module: nn.Module, args: Any, options: Any) -> tuple[Any, Any]:
    """Adapt the input of a sub-layer: its first argument, which blocks pass by position or by name."""
    if args:
        return (call(args[0]), *args[1:]), options
    name = next(iter(options))
    return args, options | {name: call(options[name])}


def _adapt_both(call: _Call, module: nn.Module, args: Any, options: Any, output: Any) -> Any:
    """Adapt the output of a sub-layer with its input."""
    entering = args[0] if args else next(iter(options.values()))
    if isinstance(output, tuple):
        return (call(output[0], entering), *output[1:])
    return call(output, entering)


def _append(flow: Flow, module: nn.Module, args: Any, tokens: Tensor) -> Tensor:
    """Append the vision prompts of depth 0 to the patch tokens, (N, L, D) -> (N, L + P, D)."""
    # len() would be a constant in an exported graph
    prompts = repeat(flow.prompts[0].to(tokens.dtype), "p d -> n p d", n=tokens.shape[0])
    return torch.cat([tokens, prompts], dim=1)


def _replace_last(flow: Flow, block: int, module: nn.Module, args: tuple[Tensor, ...]) -> None:
    """Replace the vision prompts, the last P tokens, by those of the block's depth.

    In place: nothing else reads the output of the block before, and copying all tokens takes four times as long.
    """
    args[0][:, -len(flow.prompts[block]) :] = flow.prompts[block]


def _overwrite(at: int, flow: Flow, module: nn.Module, args: Any, tokens: Tensor) -> None:
    """Write the text prompts of depth 0 over the P placeholders from a position."""
    tokens[:, at : at + len(flow.prompts[0])] = flow.prompts[0]


def _replace_first(at: int, flow: Flow, block: int, module: nn.Module, args: tuple[Tensor, ...]) -> None:
    """Replace the text prompts, P tokens from a position, by those of the block's depth; in place."""
    args[0][:, at : at + len(flow.prompts[block])] = flow.prompts[block]
