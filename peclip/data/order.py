"""The order in which clips are read, a function of the seed and the epoch alone, and each rank's part of it."""

from collections.abc import Callable, Iterator
from itertools import islice
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

    Args:
        clips: number of clips.
        batch_size: clips of a batch on one rank.
        seed: of the order.
        rank: of this process.
        world: number of ranks.
        done: asked when an epoch begins, how many of its batches were trained on before the run was interrupted.
    """

    def __init__(
        self, clips: int, batch_size: int, seed: int, rank: int, world: int, done: Callable[[], int] = lambda: 0
    ) -> None:
        self.clips, self.batch_size, self.seed, self.rank, self.world = clips, batch_size, seed, rank, world
        self.done = done
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose order comes next; Lightning calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of clips of this rank."""
        return self.clips // self.world

    def __iter__(self) -> Iterator[Draw]:
        """Yield this rank's clips of the epoch, or of what is left of it."""
        done = self.done()
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.clips)
        whole = self.batch_size * self.world
        for step, start in islice(enumerate(range(0, self.clips, whole)), done, None):
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
