"""Attach adapters and prompts to the towers of a frozen backbone with hooks, and detach them.

This is the only file with hooks.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from einops import repeat
from torch import Tensor, nn

from peclip.model.backbones.contract import Tower
from peclip.model.blocks import PLAIN, BlockExecution, BlockForward, Flow
from peclip.model.device import autocast_dtype
from peclip.model.fast.frozen import linear_of_last
from peclip.model.modules import check_returned
from peclip.model.parts.adapters import Adapter, Place, is_token_wise

BLOCK = "block"
"""Part of a site that is a whole block."""

GATHERING = ("attention", BLOCK)
"""Parts of a block that get all tokens even if the last block computes one alone."""


class Handle(Protocol):
    """Undoes what :func:`attach` did at one place."""

    def remove(self) -> None:
        """Restore the state before."""


def attach(
    tower: Tower, adapters: Mapping[tuple[str, int], Adapter], depth: int, flow: Flow, execution: BlockExecution = PLAIN
) -> list[Handle]:
    """Hook adapters and prompts into a tower.

    Args:
        tower: tower that gets them.
        adapters: adapters by (part, block), the part being ``attention``, ``mlp`` or ``block``.
        depth: number of depths at which ``flow.prompts`` enter; 0 for none.
        flow: state that the hooks read at every pass.
        execution: execution of the blocks: compiled, or recomputed for the gradient.

    Returns:
        The handles; removing them all restores the bare tower exactly.
    """
    calls = {where: _Call(adapter, flow, tower.place(where[1])) for where, adapter in adapters.items()}
    handles: list[Handle] = [
        _hook(tower.part(part, block), call) for (part, block), call in calls.items() if part != BLOCK
    ]
    if depth:
        at = tower.prompts_at
        enter = partial(_append, tower.module) if at is None else partial(_overwrite, at)
        replace = _replace_last if at is None else partial(_replace_first, at)
        handles.append(tower.entrance.register_forward_hook(partial(enter, flow)))
        for block in range(1, depth):
            before = adapters.get((BLOCK, block - 1))  # its output may be kept for the gradient
            hook = replace if before is None or before.takes == "input" else partial(_on_a_copy, replace)
            # First of all hooks: FSDP's, for example, pass on views that cannot be written to.
            handles.append(tower.blocks[block].register_forward_pre_hook(partial(hook, flow, block), prepend=True))
        handles += [
            LayerForward(layer, partial(_for_prompts, flow, layer)) for layer in _first_products(tower, adapters)
        ]
    around = {block: partial(_adapt_block, call) for (part, block), call in calls.items() if part == BLOCK}
    handles += [
        BlockForward(block, flow, execution, around.get(number))
        for number, block in enumerate(tower.blocks)
        if execution.compile or execution.checkpointing or number in around
    ]
    return handles


def _first_products(tower: Tower, adapters: Mapping[tuple[str, int], Adapter]) -> list[Any]:
    """Return the layers of the first block, query, key and value, that need the gradient of the prompts alone.

    None if an adapter or a trained norm stands before them, if prompts are not the last tokens, or if an adapter may
    ask the block for the attention of other tokens. Layers of PEFT compute their own gradient.
    """
    here = {part: adapter for (part, block), adapter in adapters.items() if block == 0}
    norm, layers = tower.attention_input(0)
    if tower.prompts_at is not None or _is_replaced(norm) or any(each.needs_place for each in here.values()):
        return []
    if any(part in GATHERING and adapter.takes == "input" for part, adapter in here.items()):
        return []
    return [layer for layer in layers if not _is_replaced(layer)]


def _is_replaced(layer: nn.Module) -> bool:
    return "forward" in vars(layer)


def _for_prompts(flow: Flow, layer: nn.Linear, x: Tensor) -> Tensor:
    """Compute a layer of :func:`_first_products`, (N, L, D) -> (N, L, D')."""
    if flow.last and torch.is_grad_enabled():
        return linear_of_last(x, layer.weight, layer.bias, flow.last)
    return type(layer).forward(layer, x)


def narrow(tower: Tower) -> Handle:
    """Convert the tokens that enter the first block of a tower to the precision of autocast, where autocast is enabled.

    What blocks add to them has that precision already, so all blocks pass such tokens on.
    """
    return tower.blocks[0].register_forward_pre_hook(_narrow)


def _narrow(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Any, ...]:
    tokens, *others = args
    return tokens.to(autocast_dtype(tokens.device) or tokens.dtype), *others


def watch(module: nn.Module, see: Callable[[Any, Any], None]) -> Handle:
    """Call a function with the arguments and the output of a module at every pass of this thread, until the handle is removed."""
    own = _Own()
    own.here = True

    def hook(module: nn.Module, args: Any, output: Any) -> None:
        if own.here:
            see(args, output)

    return module.register_forward_hook(hook)


class _Own(threading.local):
    """A mark in the thread that sets it. The default is not in the class, as in `Flow`."""

    def __init__(self) -> None:
        self.here = False


def uses_one_token(tower: Tower, adapters: Mapping[tuple[str, int], Adapter]) -> bool:
    """Return whether the last block of a tower may compute one token alone, because no adapter in it needs others."""
    last = len(tower.blocks) - 1
    same_place = tower.prompts_at is None  # the token is at the same place in all frames; the ends of texts are not
    return all(
        _needs_one_token(part, adapter, same_place) for (part, block), adapter in adapters.items() if block == last
    )


def _needs_one_token(part: str, adapter: Adapter, same_place: bool) -> bool:
    """Return whether an adapter of the last block is the same if that block computes one token of each sequence alone."""
    if part in GATHERING and adapter.takes != "output":  # they get all tokens, and return one
        return adapter.takes == "input"
    return is_token_wise(adapter) and (same_place or not adapter.mixes_clips)


@dataclass(frozen=True)
class _Call:
    """Calls an adapter with the T of the pass, and what else it needs."""

    adapter: Adapter
    flow: Flow
    place: Place

    def __call__(self, x: Tensor, *entering: Tensor) -> Tensor:
        place = (self.place,) if self.adapter.needs_place else ()
        adapted: Tensor = self.adapter(x, self.flow.frames, *entering, *place)
        check_returned("adapters", self.adapter, adapted, x.shape)
        return adapted


def _hook(module: nn.Module, call: _Call) -> Handle:
    """Hook an adapter to a sub-layer, at what it takes of it."""
    if call.adapter.takes == "input":
        return module.register_forward_pre_hook(partial(_adapt_input, call), with_kwargs=True)
    if call.adapter.takes == "both":
        return module.register_forward_hook(partial(_adapt_both, call), with_kwargs=True)
    return module.register_forward_hook(partial(_adapt, call))


class LayerForward:
    """Replaces the ``forward`` of a frozen layer, for example by that of a layer of PEFT around it."""

    def __init__(self, frozen: nn.Module, forward: Callable[..., Any]) -> None:
        self.frozen = frozen
        frozen.forward = forward

    def remove(self) -> None:
        """Restore the layer's own ``forward``."""
        vars(self.frozen).pop("forward", None)


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


def _append(tower: nn.Module, flow: Flow, module: nn.Module, args: Any, tokens: Tensor) -> Tensor:
    """Append the vision prompts of depth 0 to the patch tokens, (N, L, D) -> (N, L + P, D)."""
    learns = tokens.requires_grad or any(weight.requires_grad for weight in tower.parameters())
    flow.last = 0 if learns else len(flow.prompts[0])
    # len() would be a constant in an exported graph
    prompts = repeat(flow.prompts[0].to(tokens.dtype), "p d -> n p d", n=tokens.shape[0])
    return torch.cat([tokens, prompts], dim=1)


def _replace_last(flow: Flow, block: int, module: nn.Module, args: tuple[Tensor, ...]) -> None:
    """Replace the vision prompts, the last P tokens, by those of the block's depth.

    In place: nothing else reads the output of a block without an adapter, and copying all tokens takes four times as long.
    """
    args[0][:, -len(flow.prompts[block]) :] = flow.prompts[block]


def _on_a_copy(replace: Callable[..., None], flow: Flow, block: int, module: nn.Module, args: Any) -> tuple[Any, ...]:
    """Replace the prompts among tokens that something else reads."""
    tokens, *others = args
    tokens = tokens.clone()
    replace(flow, block, module, (tokens,))
    return tokens, *others


def _overwrite(at: int, flow: Flow, module: nn.Module, args: Any, tokens: Tensor) -> None:
    """Write the text prompts of depth 0 over the P placeholders from a position."""
    tokens[:, at : at + len(flow.prompts[0])] = flow.prompts[0]


def _replace_first(at: int, flow: Flow, block: int, module: nn.Module, args: tuple[Tensor, ...]) -> None:
    """Replace the text prompts, P tokens from a position, by those of the block's depth; in place."""
    args[0][:, at : at + len(flow.prompts[block])] = flow.prompts[block]
