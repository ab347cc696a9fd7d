"""Heat maps of some windows of a face: their clips are kept beside the answer, and explained when somebody asks."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from peclip.data.augment import normalize
from peclip.inference.explain.relevance import heated, maps, margin, spread
from peclip.inference.recognizer import Row
from peclip.model import PEClip
from peclip.model.watch import watched

LOOKS = 6
"""Most windows of a person that are explained at a time."""

FRAMES = 8
"""Most frames of each window that are shown."""

OF_FACE = 2 * LOOKS
"""Most clips of a face that are kept."""

MOST_BYTES = 256e6
"""Largest size in bytes of all clips of a video that are kept."""


class KeptClips:
    """Clips of some windows of each face of a video, spread over its time, in a folder.

    Args:
        folder: folder of the clips; it is created if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: defaultdict[int, int] = defaultdict(int)
        self._steps: defaultdict[int, int] = defaultdict(lambda: 1)
        self._kept: defaultdict[int, list[int]] = defaultdict(list)

    def add(self, row: int, face: int, clip: Tensor) -> None:
        """Keep the clip of a row, uint8 (T, 3, S, S), if it is the turn of its face; other clips may be deleted for it.

        Args:
            row: number of the row.
            face: number of its face.
            clip: clip that was classified, uint8 (T, 3, S, S).
        """
        turn = self._seen[face] % self._steps[face] == 0
        self._seen[face] += 1
        if not turn:
            return
        self._folder.mkdir(exist_ok=True)
        np.save(self._path(row), clip.numpy())
        self._kept[face].append(row)
        most = max(1, int(MOST_BYTES / clip.nbytes))
        while len(self._kept[face]) > OF_FACE or sum(map(len, self._kept.values())) > most:
            largest = max(self._kept, key=lambda each: len(self._kept[each]))
            self._thin(face if len(self._kept[largest]) == 1 else largest)

    def _thin(self, face: int) -> None:
        """Delete every other clip of a face, or its only one."""
        rows = self._kept[face]
        self._kept[face] = rows[::2] if len(rows) > 1 else []
        for row in rows[1::2] or rows:
            self._path(row).unlink()
        self._steps[face] *= 2

    def rows(self) -> list[int]:
        """Return the numbers of the rows whose clips are kept."""
        return sorted(row for rows in self._kept.values() for row in rows)

    def clip(self, row: int) -> Tensor:
        """Return the clip of a row."""
        return torch.from_numpy(np.load(self._path(row), allow_pickle=False))

    def _path(self, row: int) -> Path:
        return self._folder / f"{row}.npy"


@dataclass(frozen=True, eq=False)
class Look:
    """Frames of a window with the places at which the model looked for its answer.

    Attributes:
        row: row of the window, with its answer.
        frames: uint8 (N, S, S, 3), in grey, with heat.
    """

    row: Row
    frames: np.ndarray


def look_at(net: PEClip, row: Row, clip: Tensor) -> Look:
    """Return heat maps of a clip for the class of its answer: gradient-weighted rollout, as in ``peclip explain``."""
    assert row.label is not None
    video = normalize(clip[None].to(net.token_ids.device), net.clip_format)[0]
    seen = watched(net, video)
    heat = maps(seen, margin(seen.logits, net.labels.index(row.label))).gradient.float().cpu().numpy()
    shown = spread(len(clip), FRAMES)
    frames = rearrange(clip[torch.from_numpy(shown)], "t c h w -> t h w c").numpy()
    return Look(row, heated(frames, heat[shown], float(heat.max())))
