"""Batches that are asked for ahead: the same ones, in the same order, and nothing is left behind."""

import gc
import pickle
import time
from collections.abc import Callable
from itertools import islice
from multiprocessing import active_children
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.data.test_datamodule import module


def eventually(holds: Callable[[], bool]) -> bool:
    """Wait for up to 30 s until something holds."""
    end = time.monotonic() + 30
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    return holds()


def test_validation_is_read_while_the_last_batches_are_trained_on(tiny_data: Path):
    data = module(tiny_data, num_workers=1, batch_size=2, val=0.4)
    training, validation = data.train_dataloader(), data.val_dataloader()
    assert not validation.dataset.at_work.pids
    batches = iter(training)
    next(batches)  # of three: the last is asked for
    assert eventually(lambda: validation.dataset.at_work.notes >= 2 * len(validation.dataset))
    expected = [batch.clip for batch in module(tiny_data, batch_size=2, val=0.4).val_dataloader()]
    for _ in range(2):
        read = [batch.clip for batch in validation]
        assert all(torch.equal(*pair) for pair in zip(read, expected, strict=True))
    assert len(list(batches)) == 2


def test_the_next_epoch_is_read_while_a_validation_runs_if_there_is_one(tiny_data: Path):
    data = module(tiny_data, num_workers=1, batch_size=2, val=0.4)
    training, validation = data.train_dataloader(), data.val_dataloader()
    data.trainer = SimpleNamespace(
        state=SimpleNamespace(fn="fit"), sanity_checking=True, current_epoch=0, training=False,
        fit_loop=SimpleNamespace(max_epochs=2),
    )  # fmt: skip
    next(iter(validation))
    assert not training.dataset.at_work.pids  # the epoch of a run that resumes is not known yet
    data.trainer.sanity_checking = False
    epochs = []
    for epoch in range(2):
        training.batch_sampler.set_epoch(epoch)
        data.trainer.current_epoch = epoch
        epochs.append([int(clip) for batch in training for clip in batch.clip])
        notes = training.dataset.at_work.notes
        assert len(list(validation)) == len(validation)
        if epoch == 0:
            assert eventually(lambda notes=notes: training.dataset.at_work.notes > notes)
    assert training.dataset.at_work.notes == notes  # no epoch follows
    alone = module(tiny_data, batch_size=2, val=0.4).train_dataloader()
    for epoch, clips in enumerate(epochs):
        alone.batch_sampler.set_epoch(epoch)
        assert clips == [int(clip) for batch in alone for clip in batch.clip]


def test_an_iteration_that_is_left_does_not_disturb_the_next_one(tiny_data: Path):
    data = module(tiny_data, num_workers=1, batch_size=1)
    loader = data.train_dataloader()
    expected = [int(batch.clip[0]) for batch in loader]
    left = iter(loader)
    assert [int(batch.clip[0]) for batch in islice(left, 3)] == expected[:3]
    assert [int(batch.clip[0]) for batch in loader] == expected  # while the other one still has a batch on its way


def test_a_validation_that_runs_is_not_disturbed_by_the_batch_that_comes_meanwhile(tiny_data: Path):
    loader = module(tiny_data, num_workers=1, batch_size=1).test_dataloader()
    expected = [int(batch.clip[0]) for batch in loader]
    running = iter(loader)
    read = [int(next(running).clip[0])]
    loader.read_ahead()
    assert read + [int(batch.clip[0]) for batch in running] == expected


def test_an_iteration_during_which_another_began_ends_with_an_error_and_not_early(tiny_data: Path):
    loader = module(tiny_data, num_workers=1, batch_size=1).test_dataloader()
    first = iter(loader)
    next(first)
    assert len(list(loader)) == len(loader)
    with pytest.raises(RuntimeError, match="asked for its batches again"):
        list(first)


def test_a_loader_that_nobody_holds_leaves_no_thread(tiny_data: Path):
    loader = module(tiny_data, num_workers=1, batch_size=1).test_dataloader()
    loader.read_ahead()
    thread = loader._latest._thread
    assert thread.is_alive()
    del loader
    assert eventually(lambda: not thread.is_alive())


@pytest.mark.parametrize("read", [0, 1, 3])
def test_a_closed_loader_has_no_processes_and_can_be_read_again(read: int, tiny_data: Path):
    data = module(tiny_data, num_workers=1, batch_size=1)
    loader = data.test_dataloader()
    expected = [int(batch.clip[0]) for batch in loader]
    left = iter(loader)
    list(islice(left, read))
    loader.read_ahead()
    (process,) = loader._iterator._workers
    loader.close()
    assert not process.is_alive()
    assert process.exitcode == 0  # it ended when asked, and was not killed
    assert [int(batch.clip[0]) for batch in loader] == expected


def test_workers_that_are_just_starting_are_closed_too(tiny_data: Path):
    data, before = module(tiny_data, num_workers=1, batch_size=1), {*active_children()}
    loader = data.test_dataloader()
    loader.read_ahead()
    loader.close()
    assert loader.dataset.at_work.pids  # they had started
    assert {*active_children()} <= before
    assert loader._iterator is None


def test_another_stage_leaves_a_loader_alone_and_a_data_module_can_be_sent_to_a_process(tiny_data: Path):
    data = module(tiny_data, num_workers=1, batch_size=1)
    pickle.dumps(data)
    data.teardown("fit")
    batches = iter(data.train_dataloader())
    next(batches)
    for stage in ("test", "fit"):
        data.setup(stage)
        data.teardown(stage)
    assert len(list(batches)) == len(data.splits.train) - 1


@pytest.mark.parametrize("read", [0, 1, 3])
def test_loaders_that_nobody_holds_end_without_the_garbage_collector(read: int, tiny_data: Path):
    """In a circle of references their processes are not asked to end, and each is waited for in vain for five seconds."""
    data = module(tiny_data, num_workers=1, batch_size=4, val=0.4)
    gc.disable()
    try:
        loaders = [data.train_dataloader(), data.val_dataloader(), data.test_dataloader()]
        for loader in loaders:
            list(islice(iter(loader), read))
            list(loader)
        processes = [process for loader in loaders for process in loader._iterator._workers]
        del loader, loaders
        assert eventually(lambda: not any(process.is_alive() for process in processes))
    finally:
        gc.enable()
