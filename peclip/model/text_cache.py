"""Features of the class texts, kept until a weight that they depend on changes."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from peclip.model.precision import autocast_dtype


class TextCache:
    """Keeps the features of the class texts, with and without adapters and prompts."""

    def __init__(self) -> None:
        self._kept: dict[bool, tuple[Any, Tensor]] = {}

    def get(self, bare: bool, device: torch.device, weights: Sequence[Tensor], compute: Callable[[], Tensor]) -> Tensor:
        """Return the features, computed again if the device, the precision or a weight has changed.

        Args:
            bare: whether they are those of the model without adapters and prompts.
            device: device on which they are computed.
            weights: all tensors that they depend on.
            compute: function that computes them.
        """
        key = (device, autocast_dtype(device), *map(_state, weights))
        known, features = self._kept.get(bare, (None, None))
        if features is None or known != key:
            with torch.inference_mode(False), torch.no_grad():  # training steps may use what an evaluation has computed
                features = compute()
            if not any(weight.is_inference() for weight in weights):  # their versions are not counted
                self._kept[bare] = (key, features)
        return features

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()


def _state(weight: Tensor) -> tuple[int, int, int]:
    """Return values that change with a weight: steps count up its version, and moving or converting it takes new memory."""
    try:
        memory = weight.data_ptr()
    except RuntimeError:  # a sharded weight has no memory of its own, and is not moved
        memory = 0
    return id(weight), 0 if weight.is_inference() else weight._version, memory
