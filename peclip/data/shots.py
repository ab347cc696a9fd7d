"""K clips per class: what few-shot training trains on (CoOp, https://arxiv.org/abs/2109.01134, section 4.1)."""

import numpy as np

from peclip.data.manifest import Manifest

_SHOTS = 104  # the last word of a random stream's key; augment.py and dataset.py have the others


def draw_shots(clips: Manifest, shots: int, seed: int) -> tuple[Manifest, tuple[str, ...]]:
    """Draw K clips of every class. Those of a smaller K are among those of a larger one.

    Args:
        clips: of the training.
        shots: K, at least 1.
        seed: decides which clips are drawn.

    Returns:
        The clips in the order in which they came, and a sentence about the classes that have fewer than K, which keep all they have.
    """
    rng = np.random.default_rng((seed, len(clips), _SHOTS))
    chosen = clips.table["label"].eq("")  # they stay, so that training refuses them
    few = []
    for label in clips.labels:
        rows = np.flatnonzero(clips.table["label"] == label)
        chosen.iloc[rng.permutation(rows)[:shots]] = True
        few += [f"{label} {len(rows)}"] if len(rows) < shots else []
    notes = (f"Fewer than {shots} training clips, of which all are used: {', '.join(few)}.",) if few else ()
    return clips.select(chosen), notes
