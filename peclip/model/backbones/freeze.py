"""Freeze a model of transformers, with faster layers that save memory for gradients, and make models without weights."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import CLIPModel, MetaClip2Model, PreTrainedModel
from transformers.activations import QuickGELUActivation

from peclip.model.backbones.checks import quiet
from peclip.model.backbones.layers import ATTENTION, use_one_token
from peclip.model.fast.frozen import QuickGELU
from peclip.model.weights import PRECISIONS

Model = TypeVar("Model", bound=PreTrainedModel)

Kind = TypeVar("Kind", bound=nn.Module)


def freeze(model: Model) -> Model:
    """Freeze a model in evaluation mode, with faster layers that compute the same functions."""
    model.set_attn_implementation(ATTENTION)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, QuickGELUActivation):
                setattr(module, name, QuickGELU())
    if isinstance(model, CLIPModel | MetaClip2Model):
        use_one_token(model)
    return model.requires_grad_(False).eval()


def without_weights(kind: type[Model], config: Any) -> Model:
    """Return a model of a class whose weights have no memory: random ones would take time and be replaced at once."""
    with quiet(), torch.device("meta"):
        return kind(config)


def with_weights(model: Model, find: Callable[[str], Tensor]) -> Model:
    """Load weights from elsewhere into a model without weights, and freeze it.

    Args:
        model: model without weights, from :func:`without_weights`.
        find: function that returns the tensor of a name of the model.

    Raises:
        ValueError: a tensor has another shape, or no floating-point numbers.
    """
    tensors = {name: find(name) for name in model.state_dict()}
    for name, value in model.state_dict().items():
        if tensors[name].shape != value.shape:
            raise ValueError(f"{name} would have {tuple(tensors[name].shape)}, expected {tuple(value.shape)}")
        if tensors[name].dtype not in PRECISIONS:
            kind = str(tensors[name].dtype).removeprefix("torch.")
            raise ValueError(f"{name} would be {kind}, expected fp16, bf16, fp32 or fp64")
    model.to_empty(device="cpu")
    model.load_state_dict(tensors)
    for name, positions in model.named_buffers():
        if name.endswith("position_ids"):  # no state dict has them
            positions.copy_(torch.arange(positions.shape[-1]))
    return freeze(model)


def empty_copy(module: Kind, shared: Iterable[Any] = ()) -> Kind:
    """Return a copy of a module, with its hooks, on the meta device and in fp32: it takes no memory and computes nothing.

    Args:
        module: module to copy.
        shared: objects that the copy has in common with it.
    """
    memo: dict[int, Any] = {id(each): each for each in shared}
    for buffer in module.buffers():
        memo[id(buffer)] = torch.empty(buffer.shape, dtype=buffer.dtype, device="meta")
    for weight in module.parameters():
        memo[id(weight)] = nn.Parameter(torch.empty(weight.shape, device="meta"), weight.requires_grad)
    return deepcopy(module, memo)
