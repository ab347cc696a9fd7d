"""The answers of a model to changed copies of a clip."""

from collections.abc import Callable, Iterator
from itertools import islice

import torch
from torch import Tensor

from peclip.model import PEClip

Advance = Callable[[int], object]
"""Callable that accepts how many more clips are done."""


class BatchedModel:
    """Runs a model on many clips, a few at a time.

    Args:
        net: the model.
        batch_size: clips per pass.
        advance: called after each pass with the number of its clips.
    """

    def __init__(self, net: PEClip, batch_size: int, advance: Advance = lambda _: None) -> None:
        self._net, self._batch_size, self._advance = net, batch_size, advance

    def __call__(self, clips: Iterator[Tensor]) -> Tensor:
        """Return the logits (N, C) of N normalised clips of one length, each float (T, 3, H, W); they are made as needed."""
        logits = []
        with torch.inference_mode():
            while some := list(islice(clips, self._batch_size)):
                logits.append(self._net(torch.stack(some)).float().cpu())
                self._advance(len(some))
        return torch.cat(logits)

    def probabilities(self, clips: Iterator[Tensor]) -> Tensor:
        """Return the probabilities (N, C) of such clips."""
        return self._net.probabilities(self(clips))

    def without_each_frame(self, video: Tensor) -> Tensor:
        """Return the logits (T, C) of a clip of two frames or more, float (T, 3, H, W), when each frame is omitted."""
        others = (torch.cat([video[:frame], video[frame + 1 :]]) for frame in range(len(video)))
        return self(others)


def margin(logits: Tensor, label: int) -> Tensor:
    """Return the logit of a class minus the mean logit of the others, (..., C) -> (...).

    A constant that is added to all logits cancels.
    """
    classes = logits.shape[-1]
    own = logits[..., label]
    return own if classes == 1 else own - (logits.sum(dim=-1) - own) / (classes - 1)
