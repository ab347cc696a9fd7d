"""Heat maps over frames, for pictures and pages."""

import numpy as np
from PIL import Image

COLOURS = "inferno"
"""Colour map of relevance: its lightness rises all the way, so that it reads the same without colours."""


def heated(frames: np.ndarray, relevance: np.ndarray, largest: float | None = None) -> np.ndarray:
    """Return frames in grey with their relevance as heat, uint8 (T, S, S, 3).

    Args:
        frames: RGB frames, uint8 (T, S, S, 3).
        relevance: relevance of their patches, at least 0, (T, rows, columns).
        largest: the relevance of the hottest colour; by default the largest one.
    """
    from matplotlib import colormaps

    top = float(relevance.max()) if largest is None else largest
    shares = np.clip(relevance / (top or 1.0), 0, 1).astype(np.float32)
    size = frames.shape[2], frames.shape[1]
    heat = np.stack(
        [np.asarray(Image.fromarray(share).resize(size, Image.Resampling.BILINEAR)) for share in shares]
    ).clip(0, 1)
    grey = frames.mean(axis=3, keepdims=True) / 255
    opacity = (0.15 + 0.75 * heat**0.7)[..., None]
    mixed = (1 - opacity) * 0.85 * grey + opacity * colormaps[COLOURS](heat)[..., :3]
    return np.asarray((255 * mixed).round().astype(np.uint8))


def spread(count: int, most: int) -> np.ndarray:
    """Return the indices of at most so many items of a sequence, evenly spread from the first to the last."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).round().astype(int)
