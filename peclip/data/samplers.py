"""Samplers: which clips make up the batches of each rank, as a function of the seed and the epoch alone.

Every sampler gives all ranks the same number of batches, because they wait for each other in every step.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
from torch.utils.data import Sampler

from peclip.data.batch import NO_INDEX, Draw

if TYPE_CHECKING:
    import pandas as pd

DUMMY = [Draw(epoch=0, step=0, clip=NO_INDEX, own=False)]
"""A batch that counts for nothing, for a rank that has none left while others have."""


class TrainSampler(Sampler[list[Draw]]):
    """Sample the clips in a new random order in every epoch; each rank takes a contiguous range of every global batch.

    The ranges of a last, smaller batch differ in length, and a rank may have no clip of it to count.

    Args:
        clips: number of clips.
        batch_size: clips of a batch that count on one rank.
        seed: seed of the order of the clips.
        rank: rank of this process, from 0.
        world: number of ranks.
        done: function that gets an epoch when it begins, and returns how many of its batches were trained on before.
        pairs: whether neighbours (0 with 1, 2 with 3, ... of all ranks together) are mixed, so that one that counts on
            another rank has to be read here too. An even batch size cuts no pair in two.
        repeat: whether every epoch has the order of the first, as to overfit a few batches on purpose.
        labels: label of each clip, to give every class the same share of an epoch; None samples each clip once.
        after: function that is called when the last batch of an epoch is requested: the workers have nothing else to read.
    """

    def __init__(
        self,
        clips: int,
        batch_size: int,
        seed: int,
        rank: int,
        world: int,
        done: Callable[[int], int] = lambda epoch: 0,
        pairs: bool = True,
        repeat: bool = False,
        labels: "pd.Series[str] | None" = None,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self.clips, self.batch_size, self.seed, self.rank, self.world = clips, batch_size, seed, rank, world
        self.done, self.pairs, self.repeat = done, pairs, repeat
        self.labels, self.after = labels, after
        self.epoch = 0

    @property
    def sampler(self) -> Self:
        """Itself: Lightning sets the epoch on the ``sampler`` of a batch sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that is sampled next; Lightning calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of batches, which is the same on all ranks."""
        return math.ceil(self.clips / (self.batch_size * self.world))

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yield this rank's range of each batch of the epoch, or of those that are left of it."""
        rng = np.random.default_rng((self.seed, 0 if self.repeat else self.epoch))
        order = rng.permutation(self.clips) if self.labels is None else balanced_order(self.labels, rng)
        again = _appearances(order)
        whole = self.batch_size * self.world
        for step in range(self.done(self.epoch), len(self)):
            batch = order[step * whole : (step + 1) * whole]
            first, end = (self._cut(len(batch), rank) for rank in (self.rank, self.rank + 1))
            read = range(first, end)
            if first == end:
                read = range(1)  # a rank without a clip would leave the others waiting for its gradients
            elif self.pairs:
                read = range(first - first % 2, min(end + end % 2, len(batch)))
            before = again[step * whole : (step + 1) * whole]
            yield [
                Draw(self.epoch, step, int(batch[place]), place, first <= place < end, int(before[place]))
                for place in read
            ]
        self.after()

    def _cut(self, clips: int, rank: int) -> int:
        """Return where a rank's range of a batch of so many clips begins: between two pairs if the batch size is even."""
        unit = 2 - self.batch_size % 2
        return min(-(-clips // unit) * rank // self.world * unit, clips)


def balanced_order(labels: "pd.Series[str]", rng: np.random.Generator) -> np.ndarray:
    """Draw as many clips as there are, in random order, with the same number of every class, give or take one.

    A class takes its clips in random order, and begins again when all were taken. Clips of a class that has more than its share
    wait for another epoch.

    Args:
        labels: labels of the N clips.
        rng: generator that decides the order.

    Returns:
        int64 (N,).
    """
    classes = [np.flatnonzero(labels.to_numpy() == label) for label in sorted(labels.unique())]
    one_more = rng.permutation(len(classes)) < len(labels) % len(classes)
    drawn = []
    for clips, more in zip(classes, one_more, strict=True):
        number = len(labels) // len(classes) + int(more)
        rounds = [rng.permutation(clips) for _ in range(math.ceil(number / len(clips)))]
        drawn += [np.concatenate(rounds)[:number]] if rounds else []
    return rng.permutation(np.concatenate(drawn))


def _appearances(order: np.ndarray) -> np.ndarray:
    """Return for each place how often its clip has appeared before, int64 (N,)."""
    by_clip = order.argsort(kind="stable")
    _, first, count = np.unique(order[by_clip], return_index=True, return_counts=True)
    again = np.empty_like(order)
    again[by_clip] = np.arange(len(order)) - first.repeat(count)
    return again


def evaluation_order(labels: "pd.Series[str]") -> np.ndarray:
    """Shuffle clips so that the first of them, however many, have each class in about its share of all clips.

    Files list clips by class. In their order an evaluation of a few batches would see one or two classes. The shuffle is a
    function of the labels alone, so that limited evaluations of several runs see the same clips.

    Args:
        labels: labels of the N clips.

    Returns:
        int64 (N,), each clip once.
    """
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(len(labels))
    groups = labels.iloc[shuffled].reset_index(drop=True).groupby(labels.iloc[shuffled].to_numpy())
    share = (groups.cumcount().to_numpy() + rng.random(len(labels))) / groups.transform("size").to_numpy()
    return shuffled[share.argsort(kind="stable")]


class EvalSampler(Sampler[list[Draw]]):
    """Sample every clip exactly once, in the same batches on any number of ranks, which take them in turn.

    Args:
        order: the clips, in the order in which they are evaluated.
        batch_size: clips of a batch; the last one may have fewer.
        rank: rank of this process, from 0.
        world: number of ranks.
    """

    def __init__(self, order: Sequence[int] | np.ndarray, batch_size: int, rank: int, world: int) -> None:
        self.order, self.batch_size, self.rank, self.world = order, batch_size, rank, world

    def __len__(self) -> int:
        """Return the number of batches, which is the same on all ranks."""
        return math.ceil(len(self.order) / (self.batch_size * self.world))

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yield this rank's batches."""
        starts = range(self.rank * self.batch_size, len(self.order), self.world * self.batch_size)
        yield from (_draws(self.order[start : start + self.batch_size]) for start in starts)
        yield from [DUMMY] * (len(self) - len(starts))


class ShardSampler(Sampler[list[Draw]]):
    """Sample the clips of this rank's shards in order, in batches none of which reaches from one shard into the next.

    So the batch in which a clip is read depends on its shard alone, not on the rank or on which other shards are left.

    Args:
        shards: clips of the shards of each rank.
        batch_size: clips of a batch; the last one of a shard may have fewer.
        rank: rank of this process, from 0.
    """

    def __init__(self, shards: Sequence[Sequence[range]], batch_size: int, rank: int) -> None:
        self.shards, self.batch_size, self.rank = shards, batch_size, rank

    def __len__(self) -> int:
        """Return the number of batches, which is the same on all ranks."""
        return max(map(self._count, self.shards))

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yield this rank's batches, shard after shard."""
        own = self.shards[self.rank]
        for shard in own:
            for start in range(0, len(shard), self.batch_size):
                yield _draws(shard[start : start + self.batch_size])
        yield from [DUMMY] * (len(self) - self._count(own))

    def _count(self, shards: Sequence[range]) -> int:
        return sum(math.ceil(len(shard) / self.batch_size) for shard in shards)


def _draws(clips: Sequence[int] | np.ndarray) -> list[Draw]:
    return [Draw(epoch=0, step=0, clip=int(clip)) for clip in clips]
