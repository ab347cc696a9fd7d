"""Ranks ask each other about once a second whether one of them was asked to end; Ctrl-C ends a training as it ends others."""

import signal
import sys
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from peclip.errors import InputError
from peclip.train.cluster import signals
from peclip.train.module import PEClipModule
from tests.runs import run


@pytest.fixture
def ranks(monkeypatch):
    """Two ranks on a clock of our own, and when they asked each other."""
    found = SimpleNamespace(now=100.0, asked=[], other=False)

    def largest(numbers, device):
        found.asked.append(found.now)
        return [max(numbers[0], found.other), numbers[1]]

    monkeypatch.setattr(signals, "largest", largest)
    monkeypatch.setattr(signals, "time", SimpleNamespace(monotonic=lambda: found.now))
    return found


def step(callback, trainer, ranks, seconds):
    ranks.now += seconds
    callback.on_train_batch_end(trainer, None, None, None, 0)


def trainer_of(size):
    return SimpleNamespace(
        world_size=size, strategy=SimpleNamespace(root_device=torch.device("cpu")), should_stop=False
    )


def test_fast_steps_are_not_held_up_by_a_question_each(ranks):
    callback = signals.AskedToEnd()
    for _ in range(10_000):
        step(callback, trainer_of(2), ranks, 0.01)
    assert len(ranks.asked) < 110  # in 100 seconds
    assert ranks.asked[-1] - ranks.asked[-2] == pytest.approx(1.0, abs=0.02)


def test_slow_steps_ask_after_each(ranks):
    callback = signals.AskedToEnd()
    for _ in range(5):
        step(callback, trainer_of(2), ranks, 3.0)
        ranks.other = False
    assert len(ranks.asked) == 5


def test_a_request_to_another_rank_ends_this_one_at_the_next_question(ranks):
    callback, trainer = signals.AskedToEnd(), trainer_of(2)
    for _ in range(1000):
        step(callback, trainer, ranks, 0.01)
    ranks.other = True
    for _ in range(110):
        step(callback, trainer, ranks, 0.01)
    assert callback._signals.received_sigterm


def test_a_single_process_asks_itself_after_every_step():
    callback, trainer = signals.AskedToEnd(), trainer_of(1)
    for asked in (False, True):
        callback._signals.asked = asked
        callback.on_train_batch_end(trainer, None, None, None, 0)
        assert callback._signals.received_sigterm == asked


def end_as_lightning_does():
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.exit(1)


@pytest.mark.parametrize(("is_first", "ending"), [(True, KeyboardInterrupt), (False, SystemExit)])
def test_ctrl_c_is_reported_by_the_first_rank_and_heeded_afterwards(is_first, ending):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ending) as raised, signals.interrupted_by_ctrl_c(SimpleNamespace(is_global_zero=is_first)):
        end_as_lightning_does()
    assert is_first or raised.value.code == 130
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.stress
def test_ctrl_c_within_a_training_is_one_line_and_the_status_of_shells(tmp_path, monkeypatch, tiny_config):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(PEClipModule, "training_step", lambda *_: signal.raise_signal(signal.SIGINT))
    result = run("fit", "--config", tiny_config)
    assert (result.status, result.err) == (130, "peclip: interrupted\n")


@pytest.mark.parametrize(
    ("status", "ending"), [(130, KeyboardInterrupt), (143, SIGTERMException), (2, SystemExit), (-9, InputError)]
)
def test_rank_zero_ends_for_the_reason_of_a_rank_that_it_has_lost(status, ending, monkeypatch):
    monkeypatch.setattr(signals, "_started", [SimpleNamespace(wait=lambda limit: status, kill=lambda: None)])
    trainer = SimpleNamespace(is_global_zero=True, world_size=2, strategy=SimpleNamespace(launcher=None))
    with pytest.raises(ending), signals.ended_together(trainer):
        raise RuntimeError("Connection closed by peer")


def test_lightning_does_not_ask_all_ranks_at_every_step(monkeypatch):
    trainer = Trainer(logger=False, barebones=True)
    signals.AskedToEnd().setup(trainer, None, "fit")

    def broadcast(*_, **__):
        pytest.fail("the ranks were asked")

    monkeypatch.setattr(torch.distributed, "broadcast", broadcast)
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor()
