"""The order in which clips are read, a function of the seed and the epoch alone, and each rank's part of it."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """One appearance of a clip in training: with the seed it decides everything random about it."""

    epoch: int
    step: int
    clip: int


class TrainOrder(Sampler[Draw]):
    """A new random order in every epoch; each rank takes its contiguous part of every global batch.

    A last, smaller batch is divided evenly, and up to ``world - 1`` clips that do not divide wait for the next epoch.
    """

    def __init__(self, clips: int, batch_size: int, seed: int, rank: int, world: int) -> None:
        self.clips, self.batch_size, self.seed, self.rank, self.world = clips, batch_size, seed, rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose order comes next; Lightning calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of clips of this rank."""
        return self.clips // self.world

    def __iter__(self) -> Iterator[Draw]:
        """Yield this rank's clips of the epoch."""
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.clips)
        whole = self.batch_size * self.world
        for step, start in enumerate(range(0, self.clips, whole)):
            batch = order[start : start + whole]
            share = len(batch) // self.world
            for clip in batch[self.rank * share : (self.rank + 1) * share]:
                yield Draw(self.epoch, step, int(clip))


class EvalOrder(Sampler[Draw]):
    """Every clip exactly once, divided over the ranks without padding."""

    def __init__(self, clips: int, rank: int, world: int) -> None:
        self.mine = range(rank, clips, world)

    def __len__(self) -> int:
        """Return the number of clips of this rank."""
        return len(self.mine)

    def __iter__(self) -> Iterator[Draw]:
        """Yield this rank's clips in order."""
        return (Draw(0, 0, clip) for clip in self.mine)
