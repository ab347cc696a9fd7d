"""Answers of a model to changed copies of a clip; by deletion and insertion, how well an order of patches tells what they depend on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional as F

from peclip.errors import InputError
from peclip.model import PEClip

Advance = Callable[[int], object]
"""Callable that accepts how many more clips are done."""

RANDOM = 3
"""Number of random orders, with whose mean the curves are compared."""

COARSE = 4
"""Cells per side to which a frame is blurred; the blurred frame replaces deleted patches, and keeps the light but no face."""


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


@dataclass(frozen=True, eq=False)
class Curve:
    """The probability of a class while patches of all frames are deleted, or inserted into the blurred clip.

    Attributes:
        deletion: probabilities (N + 1,) after 0, 1/N, ..., 1 of the patches are deleted; the lower, the better the order.
        insertion: probabilities (N + 1,) after as many are inserted; the higher, the better the order.
    """

    deletion: np.ndarray
    insertion: np.ndarray

    @property
    def areas(self) -> tuple[float, float]:
        """Area under the deletion and the insertion curve, from 0 to 1."""
        return _area(self.deletion), _area(self.insertion)


def passes(steps: int, orders: int) -> int:
    """Return how many clips :func:`curves` runs the model on."""
    return 2 + 2 * (orders + RANDOM) * (steps - 1) if steps else 0


def check_steps(steps: int, patches: int) -> None:
    """Check that each step of a curve has patches of its own.

    Raises:
        InputError: there are more steps than patches.
    """
    if steps > patches:
        raise InputError(
            f"curve_steps is {steps}: expected at most {patches}, the number of patches of all frames", "curve_steps"
        )


def curves(
    answers: BatchedModel, video: Tensor, label: int, maps: dict[str, np.ndarray], steps: int
) -> dict[str, Curve]:
    """Return the curves of maps of relevance, and ``random``: the mean of :data:`RANDOM` random orders.

    RISE (Petsiuk, Das and Saenko, 2018, https://arxiv.org/abs/1806.07421), over the patches of all frames at once.

    Args:
        answers: the model, which is run on many clips.
        video: normalised clip, float (T, 3, H, W).
        label: place of the class.
        maps: relevance of the patches by name of the map, each (T, rows, columns).
        steps: N, from 1 to the number of patches of all frames; 0 for no curves.

    Raises:
        InputError: there are more steps than patches.
    """
    if not steps:
        return {}
    check_steps(steps, next(iter(maps.values())).size)
    shape, rng = next(iter(maps.values())).shape, np.random.default_rng(0)
    orders = {name: np.argsort(-relevance.ravel(), kind="stable") for name, relevance in maps.items()}
    orders |= {f"random{number}": rng.permutation(int(np.prod(shape))) for number in range(RANDOM)}
    blurred = _blurred(video)
    whole, none = _probabilities(answers, [video, blurred], label)
    found = {}
    for name, order in orders.items():
        masks = [_mask(order, step / steps, shape).to(video.device) for step in range(1, steps)]
        deleted = [_mixed(blurred, video, mask) for mask in masks]
        inserted = [_mixed(video, blurred, mask) for mask in masks]
        values = _probabilities(answers, [*deleted, *inserted], label) if masks else np.zeros(0)
        down, up = values[: len(masks)], values[len(masks) :]
        found[name] = Curve(np.array([whole, *down, none]), np.array([none, *up, whole]))
    of_random = [found.pop(f"random{number}") for number in range(RANDOM)]
    mean = (
        np.mean([getattr(curve, name) for curve in of_random], axis=0).astype(np.float64)
        for name in ("deletion", "insertion")
    )
    return found | {"random": Curve(*mean)}


def _probabilities(answers: BatchedModel, clips: list[Tensor], label: int) -> np.ndarray:
    return answers.probabilities(iter(clips))[:, label].double().numpy()


def _mask(order: np.ndarray, share: float, shape: tuple[int, ...]) -> Tensor:
    """Return a mask (T, rows, columns) that is 1 for the first patches of an order, else 0."""
    mask = np.zeros(len(order), np.float32)
    mask[order[: round(share * len(order))]] = 1
    return torch.from_numpy(rearrange(mask, "(t h w) -> t h w", t=shape[0], h=shape[1]))


def _mixed(inside: Tensor, outside: Tensor, mask: Tensor) -> Tensor:
    """Return a clip composed of two: one in some patches, the other one elsewhere."""
    high, wide = inside.shape[2] // mask.shape[1], inside.shape[3] // mask.shape[2]
    pixels = repeat(mask, "t r c -> t 1 (r h) (c w)", h=high, w=wide)
    rest = (0, inside.shape[3] - pixels.shape[3], 0, inside.shape[2] - pixels.shape[2])  # that no patch reads
    return torch.where(F.pad(pixels, rest) > 0, inside, outside)


def _blurred(video: Tensor) -> Tensor:
    """Return the frames without detail, (T, 3, H, W)."""
    small = F.interpolate(video, size=(COARSE, COARSE), mode="area")
    return F.interpolate(small, size=video.shape[2:], mode="bilinear", align_corners=False)


def _area(values: np.ndarray) -> float:
    return float(np.trapezoid(values, dx=1 / (len(values) - 1)))
