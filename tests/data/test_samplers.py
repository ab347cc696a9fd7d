"""The clips in the batches of each rank."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from peclip.data.batch import NO_INDEX
from peclip.data.samplers import EvalSampler, ShardSampler, TrainSampler, evaluation_order


def batches(epoch=0, clips=101, batch_size=4, seed=0, rank=0, world=1, **more):
    sampler = TrainSampler(clips, batch_size, seed, rank, world, **more)
    sampler.set_epoch(epoch)
    found = list(sampler)
    assert len(found) == len(sampler)
    return found


def order(epoch=0, **options):
    return [draw for batch in batches(epoch, **options) for draw in batch]


def test_every_epoch_has_every_clip_once_in_another_random_order():
    epochs = [[draw.clip for draw in order(epoch)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(101)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0] == [draw.clip for draw in order(epoch=0)]
    assert epochs[0] != [draw.clip for draw in order(epoch=0, seed=1)]


def test_a_draw_has_its_epoch_its_step_and_its_place():
    draws = order(epoch=7, clips=10)
    assert {draw.epoch for draw in draws} == {7}
    assert [draw.step for draw in draws] == [0] * 4 + [1] * 4 + [2] * 2
    assert [draw.place for draw in draws] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]


@pytest.mark.parametrize("world", [2, 3, 4, 12])
@pytest.mark.parametrize("clips", [96, 97, 98, 103])
def test_ranks_divide_the_batches_of_one_process_and_have_the_partners_of_their_clips(world, clips):
    whole = batches(batch_size=12, clips=clips)
    ranks = [batches(batch_size=12 // world, rank=rank, world=world, clips=clips) for rank in range(world)]
    assert {len(rank) for rank in ranks} == {len(whole)}  # ranks that waited for each other would hang otherwise
    for expected, *shares in zip(whole, *ranks, strict=True):
        assert [draw for share in shares for draw in share if draw.own] == expected
        pairs = {
            draw.clip: {other.clip for other in expected if other.place // 2 == draw.place // 2} for draw in expected
        }
        for share in shares:
            assert share, "a rank without a clip gives no gradients"
            assert sum(draw.own for draw in share) <= 12 // world
            here = {draw.clip for draw in share}
            assert all(pairs[draw.clip] <= here for draw in share if draw.own)


def test_ranks_read_only_their_own_clips_where_no_pair_is_cut_or_none_is_mixed():
    for options in ({"batch_size": 4}, {"batch_size": 3, "pairs": False}):
        ranks = [order(clips=100, rank=rank, world=2, **options) for rank in range(2)]
        assert all(draw.own for rank in ranks for draw in rank)


def counted(batches):
    """The clips of the batches that count."""
    return [[draw.clip for draw in batch] for batch in batches if batch[0].own]


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("clips", [101, 97, 96, 2, 1, 0])
def test_evaluation_has_every_clip_once_in_the_batches_of_one_process(world, clips):
    """And every rank has as many batches: it would keep the others waiting otherwise."""
    order = np.random.default_rng(1).permutation(clips)
    samplers = [EvalSampler(order, 8, rank, world) for rank in range(world)]
    ranks = [list(sampler) for sampler in samplers]
    assert {len(rank) for rank in ranks} == {len(sampler) for sampler in samplers} == {-(-clips // (8 * world))}
    whole = counted(EvalSampler(order, 8, 0, 1))
    assert sorted(batch for rank in ranks for batch in counted(rank)) == sorted(whole)
    assert [clip for batch in whole for clip in batch] == order.tolist()
    dummies = [batch for rank in ranks for batch in rank if not batch[0].own]
    assert all([draw.clip for draw in batch] == [NO_INDEX] for batch in dummies)
    assert len(dummies) < world


@pytest.mark.parametrize("counts", [(2, 2, 2), (100, 100, 100, 100), (489, 379, 534, 435, 294, 29, 181), (5, 0, 5)])
def test_the_first_clips_of_an_evaluation_have_every_class_in_its_share(counts):
    """Files list clips by class, and an evaluation of a few batches must not see one or two of them."""
    label = [name for name, count in zip("abcdefg", counts, strict=False) for _ in range(count)]
    order = evaluation_order(pd.Series(label)).tolist()
    assert sorted(order) == list(range(len(label)))
    assert order == evaluation_order(pd.Series(label, index=reversed(range(len(label))))).tolist()
    for seen in range(len(label)):
        found = Counter(label[clip] for clip in order[:seen])
        for name in set(label):
            assert abs(found[name] - seen * label.count(name) / len(label)) < 3


def test_no_batch_reaches_from_one_shard_into_the_next():
    sampler = ShardSampler([[range(4), range(8, 10)]], 3, rank=0)
    assert counted(sampler) == [[0, 1, 2], [3], [8, 9]]
    assert len(sampler) == 3


def test_ranks_with_fewer_shards_have_as_many_batches():
    shards = [[range(4), range(8, 10)], [range(4, 8)], []]
    samplers = [ShardSampler(shards, 3, rank) for rank in range(3)]
    assert [len(list(sampler)) for sampler in samplers] == [len(sampler) for sampler in samplers] == [3, 3, 3]
    assert [counted(sampler) for sampler in samplers] == [[[0, 1, 2], [3], [8, 9]], [[4, 5, 6], [7]], []]


UNEVEN = pd.Series(["many"] * 80 + ["some"] * 18 + ["few"] * 3)


@pytest.mark.parametrize("epoch", [0, 3])
def test_balanced_classes_have_the_same_share_of_an_epoch_that_stays_as_long(epoch):
    clips = [draw.clip for draw in order(epoch, labels=UNEVEN)]
    assert len(clips) == len(UNEVEN)
    counts = UNEVEN.iloc[clips].value_counts()
    assert set(counts) <= {33, 34}
    again = Counter(clips)
    assert {again[clip] for clip in range(98, 101)} <= {11, 12}  # each clip of a class equally often
    assert all(again[clip] <= 1 for clip in range(80))
    assert clips != [draw.clip for draw in order(epoch + 1, labels=UNEVEN)]


def test_over_epochs_balanced_sampling_reaches_every_clip():
    assert {draw.clip for epoch in range(30) for draw in order(epoch, labels=UNEVEN)} == set(range(101))


def test_appearances_of_a_clip_in_an_epoch_are_numbered_and_no_two_are_the_same():
    draws = order(labels=UNEVEN)
    seen = Counter()
    for draw in draws:
        assert draw.again == seen[draw.clip]
        seen[draw.clip] += 1
    assert {draw.again for draw in order()} == {0}


@pytest.mark.parametrize("world", [1, 2, 3])
def test_balanced_batches_do_not_depend_on_ranks_and_a_resumed_epoch_ends_with_the_same(world):
    whole = batches(epoch=2, batch_size=12, labels=UNEVEN)
    ranks = [batches(epoch=2, batch_size=12 // world, labels=UNEVEN, rank=rank, world=world) for rank in range(world)]
    for step, batch in enumerate(whole):
        assert [draw for rank in ranks for draw in rank[step] if draw.own] == batch
    sampler = TrainSampler(len(UNEVEN), 12, 0, 0, 1, done=lambda epoch: 4, labels=UNEVEN)
    sampler.set_epoch(2)
    assert list(sampler) == whole[4:]
