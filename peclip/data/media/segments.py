"""Choose frames of a clip by segments."""

import numpy as np

from peclip.errors import InputError


def segment_indices(frames: int, num: int, rng: np.random.Generator | None = None, views: int = 1) -> np.ndarray:
    """Choose one frame from each of `num` equal segments of a clip.

    Segment k is `[k * frames / num, (k + 1) * frames / num)`. Of a clip with fewer frames than `num`, all are chosen and
    the last is repeated.

    Args:
        frames: number of frames of the clip, at least 1.
        num: number of frames wanted (T), at least 1.
        rng: generator that chooses a uniformly random frame within each segment; None chooses the middle, as in testing.
        views: without rng, V choices, the frames of view i being every V-th from i on: the middle of the i-th of V equal pieces
            of each segment. Of a clip with fewer frames than `num`, all are the same.

    Returns:
        (V * T,) int64, non-decreasing, each in `[0, frames)`.

    Raises:
        InputError: if there is no frame to choose from, or `num` is less than 1.
    """
    if frames < 1 or num < 1:
        raise InputError(f"cannot choose {num} of {frames} frames: expected at least one of each")
    k = np.arange(num, dtype=np.int64)
    if frames < num:
        return np.minimum(k, frames - 1).repeat(views)
    if rng is None:
        return (2 * np.arange(views * num, dtype=np.int64) + 1) * frames // (2 * views * num)
    first, stop = -(-k * frames // num), -(-(k + 1) * frames // num)  # whole frames within the segment
    return rng.integers(first, stop)
