"""Decoded clips, one by one and as batches, and what becomes of those that cannot be read.

A batch is ``{"video": uint8 (B, T, 3, H, W), "label": int64 (B,), "clip": int64 (B,), "draws": list of B Draw,
"skipped": list of (clip, reason)}``. A label is -1 where a clip has none, or does not count. A batch of which no clip could
be read holds one black clip without a draw, whose label and index are -1: it keeps the ranks in step and counts for nothing.
"""

from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from peclip.data.manifest import Manifest
from peclip.data.media.clip import read_clip
from peclip.data.order import Draw
from peclip.data.workers import AtWork
from peclip.errors import InputError

Batch = dict[str, Any]

OnError = Literal["raise", "skip"]
"""What a clip that cannot be read does: it ends the run, or it is left out."""

_FRAMES = 103  # the last word of a random stream's key; augment.py has the others


class ClipDataset(Dataset[Batch]):
    """Decoded clips by :class:`Draw`.

    Args:
        clips: the clips.
        labels: class names in the order of their indices.
        num_frames: T.
        size: side of the frames in pixels.
        seed: for the choice of frames; None takes the middle of each segment.
        workers: number of processes that read.
        on_error: what a clip that cannot be read does.
    """

    def __init__(
        self,
        clips: Manifest,
        labels: list[str],
        num_frames: int,
        size: int,
        seed: int | None,
        workers: int = 0,
        on_error: OnError = "raise",
    ) -> None:
        self.clips = clips
        self.index = {label: index for index, label in enumerate(labels)}
        self.num_frames = num_frames
        self.size = size
        self.seed = seed
        self.at_work = AtWork(workers)
        self.on_error = on_error

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.clips)

    def __getitem__(self, draw: Draw) -> Batch:
        """Return one clip as a batch of one without its first dimension.

        Returns:
            ``video``, ``label``, ``clip`` and ``draw``; of a clip that is left out, black and without label and index,
            ``skipped`` instead of the draw: the clip and why it cannot be read.

        Raises:
            InputError: the clip cannot be decoded; the message names the file and the line of the manifest.
        """
        clip = self.clips.clip(draw.clip)
        rng = None if self.seed is None else np.random.default_rng((self.seed, draw.epoch, draw.clip, _FRAMES))
        self.at_work.note(draw.clip)
        try:
            video = read_clip(clip.path, self.num_frames, self.size, start=clip.start, end=clip.end, rng=rng)
        except InputError as error:
            if self.on_error == "skip":
                black = torch.zeros((self.num_frames, 3, self.size, self.size), dtype=torch.uint8)
                return {"video": black, "label": -1, "clip": -1, "skipped": (draw.clip, str(error))}
            raise InputError(f"{error} ({clip.where})") from error
        finally:
            self.at_work.note(None)
        label = -1 if clip.label is None else self.index[clip.label]
        return {"video": video, "label": label, "clip": draw.clip, "draw": draw}


def collate(items: list[Batch]) -> Batch:
    """Stack the clips that could be read into a batch; where none could, one of the black ones.

    Draws, and what was skipped, stay lists on the host: the augmentation and the report read them there.
    """
    read = [item for item in items if "draw" in item]
    stacked = read or items[:1]
    return {
        "video": torch.stack([item["video"] for item in stacked]),
        "label": torch.tensor([item["label"] for item in stacked]),
        "clip": torch.tensor([item["clip"] for item in stacked]),
        "draws": [item["draw"] for item in read],
        "skipped": [item["skipped"] for item in items if "skipped" in item],
    }
