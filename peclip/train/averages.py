"""Averaged weights in checkpoints: Lightning's WeightAveraging saves all of CLIP twice; peclip saves only the trained weights."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from peclip.model import Trained

AVERAGING = "current_model_state"
"""Entry of a checkpoint in which WeightAveraging saves the trained weights, beside their averages."""


def without_frozen(checkpoint: dict[str, Any], trained: Trained) -> Trained:
    """Reduce the averages in a checkpoint to what is trained, and return the model with its averages as its weights.

    Args:
        checkpoint: content of the checkpoint of a module; returned unchanged if no weights are averaged.
        trained: the model as it is trained now.
    """
    if AVERAGING not in checkpoint:
        return trained
    averages = _trainable(checkpoint["state_dict"], trained.state)
    current = _trainable(checkpoint[AVERAGING], trained.state)
    checkpoint[AVERAGING] = {f"net.{name}": value for name, value in current.items()}
    return replace(trained, state=averages)


def restore_averages(checkpoint: dict[str, Any], state: Mapping[str, Tensor] | None) -> None:
    """Complete the averages in a checkpoint with the frozen weights, which the callback expects.

    Args:
        checkpoint: content of the checkpoint; stays unchanged if no weights are averaged.
        state: all weights of the module that continues to train; None for an evaluation, which uses the averages alone.
    """
    if state is None or AVERAGING not in checkpoint:
        checkpoint.pop(AVERAGING, None)
        return
    for entry in ("state_dict", AVERAGING):
        checkpoint[entry] = {**state, **checkpoint[entry]}


def _trainable(state: Mapping[str, Tensor], trainable: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the trainable weights among those of a module, by their names in the model."""
    return {name: state[f"net.{name}"] for name in trainable}
