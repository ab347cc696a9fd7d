"""Compare the appearance of faces or whole frames in coarse grey levels."""

import math

import numpy as np
from einops import reduce

_GRID, _FINE = 16, 3  # a look is GRID x GRID means of FINE x FINE pixels
_SAMPLES = (np.arange(_GRID * _FINE) + 0.5) / (_GRID * _FINE)  # places of these pixels, of 0 to 1
CONTRAST = 4.0 * _GRID**2
"""Square of the length of a look below which, at two grey levels of contrast, all looks are alike."""


def look_of_face(frame: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return the appearance of a face: coarse grey levels minus their mean, (GRID * GRID,)."""
    height, width = frame.shape[:2]
    columns = (place[0] + (_SAMPLES - 0.5) * place[2]).astype(np.int64).clip(0, width - 1)
    rows = (place[1] + (_SAMPLES - 0.5) * place[2]).astype(np.int64).clip(0, height - 1)
    return _coarse(frame[rows[:, None], columns])


def look_of_frame(frame: np.ndarray) -> np.ndarray:
    """Return the appearance of a whole frame, as :func:`look_of_face` returns that of a face."""
    height, width = frame.shape[:2]
    rows, columns = (_SAMPLES * height).astype(np.int64), (_SAMPLES * width).astype(np.int64)
    return _coarse(frame[rows[:, None], columns])


def _coarse(pixels: np.ndarray) -> np.ndarray:
    """Return the means of FINE x FINE pixels in grey, minus their mean: (GRID * FINE, GRID * FINE, 3) -> (GRID * GRID,)."""
    grey = pixels.mean(axis=2, dtype=np.float32)
    coarse = reduce(grey, "(h fine_h) (w fine_w) -> (h w)", "mean", fine_h=_FINE, fine_w=_FINE)
    return coarse - coarse.mean()


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Return how alike two looks are: their correlation, which brightness and contrast do not change."""
    norm = math.sqrt(float(one @ one) * float(other @ other))
    return (float(one @ other) + CONTRAST) / (norm + CONTRAST)
