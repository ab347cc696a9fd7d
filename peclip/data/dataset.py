"""Decoded clips, one by one, and what becomes of those that cannot be read."""

from typing import Literal

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from peclip.clip_format import ClipFormat
from peclip.data.batch import NO_INDEX, Batch, Draw, Skipped
from peclip.data.forking import end_with_main_process
from peclip.data.manifest import Manifest
from peclip.data.media.clip import read_clip
from peclip.data.soft_labels import soft_targets
from peclip.data.workers import AtWork
from peclip.errors import InputError

OnError = Literal["raise", "skip"]
"""Action at a clip that cannot be read: end the run, or skip the clip."""

_FRAMES = 103  # the last word of a random stream's key; augment.py has the others


def begin_work(worker: int) -> None:
    """Let a worker process end with the main process, and enter it in the table of workers."""
    end_with_main_process(worker)
    if (info := get_worker_info()) and isinstance(info.dataset, ClipDataset):
        info.dataset.at_work.note(None)


class ClipDataset(Dataset[Batch]):
    """Decoded clips by :class:`Draw`.

    Args:
        clips: the clips.
        labels: class names in the order of their indices.
        clip_format: T and the side of the frames.
        seed: seed of the choice of frames; None chooses the middle of each segment.
        at_work: the processes that read; by default none.
        on_error: action at a clip that cannot be read.
        soft: whether batches have the probability of each class, see :mod:`peclip.data.soft_labels`.
        views: choices of frames of each clip, if these are not random; see :func:`peclip.data.media.segment_indices`.
    """

    def __init__(
        self,
        clips: Manifest,
        labels: list[str],
        clip_format: ClipFormat,
        seed: int | None,
        at_work: AtWork | None = None,
        on_error: OnError = "raise",
        soft: bool = False,
        views: int = 1,
    ) -> None:
        self.clips = clips
        self.index = {label: index for index, label in enumerate(labels)}
        self.clip_format = clip_format
        self.seed = seed
        self.at_work = AtWork(0) if at_work is None else at_work
        self.on_error, self.soft, self.views = on_error, soft, views

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.clips)

    def __getitem__(self, draw: Draw) -> Batch:
        """Return a batch of one clip; for a skipped clip, or for no clip, a batch of one dummy clip.

        Raises:
            InputError: the clip cannot be decoded; the message names the file and the line of the manifest.
        """
        if draw.clip == NO_INDEX:
            return self._dummy()
        clip, form = self.clips.clip(draw.clip), self.clip_format
        key = (draw.epoch, draw.clip, _FRAMES, *([draw.again] if draw.again else []))
        rng = None if self.seed is None else np.random.default_rng((self.seed, *key))
        self.at_work.note(draw.clip)
        try:
            shape = form.num_frames, form.image_size
            video = read_clip(clip.path, *shape, start=clip.start, end=clip.end, rng=rng, views=self.views)
        except InputError as error:
            if self.on_error == "skip":
                return self._dummy(Skipped(draw.clip, str(error)))
            raise InputError(f"{error} ({clip.where})") from error
        finally:
            self.at_work.note(None)
        label = NO_INDEX if clip.label is None else self.index[clip.label]
        target = torch.from_numpy(soft_targets(self.clips, [*self.index], [draw.clip])) if self.soft else None
        return Batch(video[None], torch.tensor([label]), torch.tensor([draw.clip]), draws=(draw,), target=target)

    def _dummy(self, *skipped: Skipped) -> Batch:
        """Return a batch of one black clip that counts for nothing."""
        size, none = self.clip_format.image_size, torch.tensor([NO_INDEX])
        video = torch.zeros((1, self.views * self.clip_format.num_frames, 3, size, size), dtype=torch.uint8)
        return Batch(video, none, none, skipped=skipped, target=torch.zeros(1, len(self.index)) if self.soft else None)
