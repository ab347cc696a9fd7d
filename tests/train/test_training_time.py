"""A training says how long it took, and what its steps waited for."""

from unittest.mock import MagicMock

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader, Dataset

from peclip.results.training import STAGES, read_training
from peclip.train.callbacks import training_time
from peclip.train.callbacks.dashboard import Dashboard
from peclip.train.callbacks.training_time import Stages, TrainingTime
from peclip.train.runs.checkpoint_io import SyncedIO


class Clock:
    """Seconds that pass when we say so."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(training_time, "time", clock)
    return clock


class Saver:
    def __init__(self, clock, inner=None):
        self.clock, self.inner = clock, inner

    def save(self, seconds, fails=False):
        self.clock.now += seconds
        if self.inner:
            self.inner.save(1)
        if fails:
            raise OSError("the disk is full")
        return seconds


def test_what_happens_within_another_stage_counts_for_the_inner_one_alone(clock):
    stages, logger = Stages(), Saver(clock)
    trainer = Saver(clock, logger)
    stages.time(trainer, "save", "checkpoints")
    stages.time(logger, "save", "logging")
    stages.enter("input")
    clock.now += 5
    assert trainer.save(3) == 3
    clock.now += 2
    stages.leave("input")
    clock.now += 100  # a step
    assert stages.seconds == {"input": 7, "validation": 0, "checkpoints": 3, "logging": 1}


def test_a_wait_ends_where_its_work_begins(clock):
    stages, data = Stages(), Saver(clock)
    stages.before(data, "save", lambda _: stages.leave("input"))
    stages.enter("input")
    clock.now += 2
    assert data.save(3) == 3  # the device augments the batch that was waited for
    stages.enter("validation")
    data.save(4)
    stages.leave("validation")
    assert stages.seconds == {"input": 2, "validation": 4, "checkpoints": 0, "logging": 0}
    stages.release()
    assert "save" not in vars(data)


def test_a_stage_that_fails_is_left_and_afterwards_nothing_is_measured(clock):
    stages, saver = Stages(), Saver(clock)
    stages.time(saver, "save", "checkpoints")
    with pytest.raises(OSError, match="full"):
        saver.save(3, fails=True)
    clock.now += 10
    stages.release()
    saver.save(5)
    assert stages.seconds["checkpoints"] == 3
    assert "save" not in vars(saver)


def test_waiting_for_the_disk_is_waiting_for_checkpoints(clock, monkeypatch):
    monkeypatch.setattr(SyncedIO, "finish", lambda _: Saver(clock).save(3))
    trainer, callback = MagicMock(datamodule=None, loggers=[], callbacks=[]), TrainingTime()
    trainer.strategy.checkpoint_io = SyncedIO()
    callback.on_train_start(trainer, None)
    trainer.strategy.checkpoint_io.finish()
    assert callback._stages.seconds == {"input": 0, "validation": 0, "checkpoints": 3, "logging": 0}


@pytest.mark.parametrize("resumes_in_mid_epoch", [True, False])
def test_the_first_batch_is_waited_for_also_where_a_run_resumes_in_mid_epoch(resumes_in_mid_epoch, clock):
    trainer, callback = MagicMock(datamodule=None, loggers=[], callbacks=[]), TrainingTime()
    callback.on_train_start(trainer, None)
    if not resumes_in_mid_epoch:  # Lightning calls this hook for the others alone
        callback.on_train_epoch_start(trainer, None)
    for seconds in (5, 1):
        trainer.profiler.start("[_TrainingEpochLoop].train_dataloader_next")
        clock.now += seconds
        callback.on_train_batch_start(trainer)
        clock.now += 2  # the step, and what waits for the device after it
    assert callback.waited("input") == 6


def test_what_becomes_of_the_numbers_of_a_step_is_logging(clock):
    trainer, callback = MagicMock(datamodule=None, loggers=[], callbacks=[]), TrainingTime()
    trainer._logger_connector.log_metrics = lambda _: Saver(clock).save(4)  # a GPU still computes them
    callback.on_train_start(trainer, None)
    callback.on_train_batch_start(trainer)
    trainer._logger_connector.log_metrics({})
    assert callback._stages.seconds == {"input": 0, "validation": 0, "checkpoints": 0, "logging": 4}


def test_a_training_waits_for_input_where_the_loop_asks_for_batches(clock, tmp_path):
    class Batches(Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            clock.now += 5
            return torch.ones(2)

    class Module(LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(2))

        def training_step(self, batch, index):
            clock.now += 7
            return (self.weight * batch).sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    class Waits(Callback):
        def on_train_batch_end(self, *_):
            clock.now += 11  # as where the loss of a step is looked at

    times = TrainingTime()
    quiet = dict.fromkeys(("enable_progress_bar", "enable_model_summary", "enable_checkpointing", "logger"), False)
    trainer = Trainer(max_epochs=2, accelerator="cpu", callbacks=[times, Waits()], default_root_dir=tmp_path, **quiet)
    trainer.fit(Module(), DataLoader(Batches(), batch_size=1))
    assert times.waited("input") == 2 * 3 * 5


def test_what_a_dashboard_does_within_a_validation_is_logging(clock, monkeypatch):
    monkeypatch.setattr(Dashboard, "on_evaluated", lambda *_: Saver(clock).save(2))
    dashboard = Dashboard(MagicMock())
    trainer, callback = MagicMock(datamodule=None, loggers=[], callbacks=[dashboard]), TrainingTime()
    validation = trainer.fit_loop.epoch_loop.val_loop
    validation.run = lambda: (Saver(clock).save(7), dashboard.on_validation_batch_end(trainer, None, None, None, 0))
    callback.on_train_start(trainer, None)
    validation.run()
    assert callback._stages.seconds == {"input": 0, "validation": 7, "checkpoints": 0, "logging": 2}


def test_a_run_that_resumes_adds_to_what_it_waited_before():
    before, after = TrainingTime(), TrainingTime()
    before._stages.seconds["input"] = 4.0
    after.load_state_dict(before.state_dict())
    assert after._stages.seconds["input"] == 4.0
    state = before.state_dict()
    del state["waits"]  # as in peclip 0.1.0
    TrainingTime().load_state_dict(state)


def test_a_run_has_waited_for_everything_and_no_longer_than_it_took(tiny_run):
    found = read_training(tiny_run)
    waited = [getattr(found.waits, stage) for stage in STAGES]
    assert min(waited) > 0
    assert sum(waited) < found.seconds
