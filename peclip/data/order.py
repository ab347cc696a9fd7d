"""The order in which clips are read, a function of the seed and the epoch alone, and each rank's part of it."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """One appearance of a clip in training: with the seed it decides everything random about it.

    Attributes:
        epoch: its number, from 0.
        step: number of the batch in the epoch, from 0.
        clip: index of the clip in its data set.
        place: of the clip in the batch of all ranks together.
        own: whether the clip counts on this rank. If not, another rank counts it, and it is read here because one of
            this rank's clips is mixed with it, or because there are fewer clips than ranks.
    """

    epoch: int
    step: int
    clip: int
    place: int = 0
    own: bool = True


class TrainOrder(Sampler[list[Draw]]):
    """A new random order in every epoch, in batches; each rank takes its contiguous part of every batch of all ranks.

    The parts of a last, smaller batch differ in size, and a rank may have no clip of it to count.

    Args:
        clips: number of clips.
        batch_size: clips of a batch that count on one rank.
        seed: of the order.
        rank: of this process.
        world: number of ranks.
        done: asked when an epoch begins, how many of its batches were trained on before the run was interrupted.
        pairs: whether neighbours (0 with 1, 2 with 3, ... of all ranks together) are mixed, so that one that counts on
            another rank has to be read here too. An even batch size cuts no pair in two.
    """

    def __init__(
        self,
        clips: int,
        batch_size: int,
        seed: int,
        rank: int,
        world: int,
        done: Callable[[], int] = lambda: 0,
        pairs: bool = True,
    ) -> None:
        self.clips, self.batch_size, self.seed, self.rank, self.world = clips, batch_size, seed, rank, world
        self.done, self.pairs = done, pairs
        self.epoch = 0

    @property
    def sampler(self) -> Self:
        """Itself: Lightning sets the epoch of the sampler that a sampler of batches has."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose order comes next; Lightning calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of batches, which is the same on all ranks."""
        return math.ceil(self.clips / (self.batch_size * self.world))

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yield this rank's part of the batches of the epoch, or of what is left of it."""
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.clips)
        whole = self.batch_size * self.world
        for step in range(self.done(), len(self)):
            batch = order[step * whole : (step + 1) * whole]
            first, end = (self._cut(len(batch), rank) for rank in (self.rank, self.rank + 1))
            read = range(first, end)
            if first == end:
                read = range(1)  # a rank without a clip would leave the others waiting for its gradients
            elif self.pairs:
                read = range(first - first % 2, min(end + end % 2, len(batch)))
            yield [Draw(self.epoch, step, int(batch[place]), place, first <= place < end) for place in read]

    def _cut(self, clips: int, rank: int) -> int:
        """Return where a rank's part of a batch of so many clips begins: between two pairs if the batch size is even."""
        unit = 2 - self.batch_size % 2
        return min(-(-clips // unit) * rank // self.world * unit, clips)


class EvalOrder(Sampler[Draw]):
    """Every clip exactly once, in the same batches on any number of ranks, which take them in turn.

    A rank for which there is no batch reads one clip that does not count: the ranks add up their results together.

    Args:
        clips: number of clips.
        batch_size: clips of a batch.
        rank: of this process.
        world: number of ranks.
    """

    def __init__(self, clips: int, batch_size: int, rank: int, world: int) -> None:
        self.clips, self.batch_size = clips, batch_size
        self.starts = range(rank * batch_size, clips, world * batch_size)

    def __len__(self) -> int:
        """Return the number of clips that this rank reads."""
        if not self.starts:
            return min(self.clips, 1)
        return (len(self.starts) - 1) * self.batch_size + min(self.batch_size, self.clips - self.starts[-1])

    def __iter__(self) -> Iterator[Draw]:
        """Yield this rank's clips in order."""
        if self.clips and not self.starts:
            yield Draw(0, 0, 0, own=False)
        for start in self.starts:
            yield from (Draw(0, 0, clip) for clip in range(start, min(start + self.batch_size, self.clips)))


def own_part(batch: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a batch the clips that do not count on this rank.

    Where there is no other, one stays with the clip and the labels -1: the model runs on it and nothing counts it.
    """
    draws = batch.get("draws", [])
    own = [index for index, draw in enumerate(draws) if draw.own]
    if len(own) == len(draws):
        return batch
    kept = {name: value[own or [0]] for name, value in batch.items() if isinstance(value, Tensor)}
    if not own:
        kept |= {name: torch.full_like(value, -1) for name, value in kept.items() if name != "video"}
    return {**batch, **kept, "draws": [draws[index] for index in own]}
