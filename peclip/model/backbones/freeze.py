"""Freeze a model of transformers, and let its attention and activations save time and memory for gradients."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import CLIPModel, MetaClip2Model, PreTrainedModel
from transformers.activations import QuickGELUActivation

from peclip.model.backbones.checks import quiet
from peclip.model.backbones.layers import ATTENTION, use_one_token
from peclip.model.fast.frozen import QuickGELU
from peclip.model.weights import PRECISIONS

Model = TypeVar("Model", bound=PreTrainedModel)


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
