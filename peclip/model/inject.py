"""Put adapters and prompts into the towers of a frozen CLIP, and take them out again: the only file with hooks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from peclip.model.adapters import Adapter
from peclip.model.backbone import Tower


@dataclass
class Flow:
    """What the hooks of one tower read while it runs; set before each pass.

    Attributes:
        frames: T, the frames of a clip.
        prompts: one (P, D) per depth; empty where there are none.
    """

    frames: int = 1
    prompts: Sequence[Tensor] = ()


def attach(tower: Tower, adapters: Mapping[tuple[str, int], Adapter], depth: int, flow: Flow) -> list[RemovableHandle]:
    """Hook adapters and prompts into a tower.

    Args:
        tower: where they go.
        adapters: by (part, block), the part being ``attention`` or ``mlp``.
        depth: at how many depths ``flow.prompts`` enter; 0 for none.
        flow: read by the hooks at every pass.

    Returns:
        The handles; removing them all restores the bare tower exactly.
    """
    handles = [
        tower.part(part, block).register_forward_hook(partial(_adapt, adapter, flow))
        for (part, block), adapter in adapters.items()
    ]
    if depth:
        enter, replace = (_append, _replace_last) if tower.name == "vision" else (_overwrite, _replace_first)
        handles.append(tower.entrance.register_forward_hook(partial(enter, flow)))
        handles += [
            tower.blocks[block].register_forward_pre_hook(partial(replace, flow, block)) for block in range(1, depth)
        ]
    return handles


def _adapt(adapter: Adapter, flow: Flow, module: nn.Module, args: Any, output: Any) -> Any:
    """Adapt the output of a sub-layer, which is a tensor (MLP) or a tuple that starts with one (attention)."""
    if isinstance(output, tuple):
        return (adapter(output[0], flow.frames), *output[1:])
    return adapter(output, flow.frames)


def _append(flow: Flow, module: nn.Module, args: Any, tokens: Tensor) -> Tensor:
    """Add the vision prompts of depth 0 behind the patch tokens, (N, L, D) -> (N, L + P, D)."""
    return torch.cat([tokens, _batch(flow.prompts[0], tokens)], dim=1)


def _replace_last(flow: Flow, block: int, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Any, ...]:
    """Replace the vision prompts, the last P tokens, by those of the block's depth."""
    tokens, prompts = args[0], flow.prompts[block]
    return (torch.cat([tokens[:, : -len(prompts)], _batch(prompts, tokens)], dim=1), *args[1:])


def _overwrite(flow: Flow, module: nn.Module, args: Any, tokens: Tensor) -> Tensor:
    """Put the text prompts of depth 0 where the P placeholders stand, after the start token."""
    return _after_start(tokens, flow.prompts[0])


def _replace_first(flow: Flow, block: int, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Any, ...]:
    """Replace the text prompts, the P tokens after the start token, by those of the block's depth."""
    return (_after_start(args[0], flow.prompts[block]), *args[1:])


def _after_start(tokens: Tensor, prompts: Tensor) -> Tensor:
    return torch.cat([tokens[:, :1], _batch(prompts, tokens), tokens[:, 1 + len(prompts) :]], dim=1)


def _batch(prompts: Tensor, tokens: Tensor) -> Tensor:
    """Repeat prompts (P, D) for every row of tokens (N, L, D), in their dtype."""
    return prompts.to(tokens.dtype).expand(tokens.shape[0], -1, -1)  # len() would be a constant in an exported graph
