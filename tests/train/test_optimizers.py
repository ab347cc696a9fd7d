"""Optimizers and schedules of torch, named by a configuration."""

from functools import partial

import pytest
import torch
from lightning.pytorch.cli import ReduceLROnPlateau
from torch import nn
from torch.optim import SGD, Adafactor, Optimizer, SparseAdam
from torch.optim.lr_scheduler import CyclicLR, LinearLR, OneCycleLR

from peclip.errors import InputError
from peclip.train.cli.user_errors import as_input_error
from peclip.train.lr_scheduler import RateSchedule
from peclip.train.optimizers import check_custom, check_rate, described, with_own_rates


@pytest.fixture
def groups():
    return [{"params": [nn.Parameter(torch.ones(2))], "lr": 0.5, "name": "adapters"}]


@pytest.mark.parametrize("kind", [partial(SGD, momentum=0.9), Adafactor, partial(SGD, lr=1e-3)])
def test_the_rates_of_the_groups_are_those_of_a_custom_optimizer(kind, groups):
    optimizer = kind(groups)
    check_rate(optimizer)
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_a_rate_that_would_have_no_effect_is_refused(groups):
    with pytest.raises(
        InputError, match=r"^optimizer SGD has lr 0\.1, but every group of parameters has a rate of its own"
    ):
        check_rate(SGD(groups, lr=0.1))


def test_a_schedule_reads_a_metric_that_is_logged(groups):
    optimizer = SGD(groups)
    assert described(ReduceLROnPlateau(optimizer, monitor="val/loss"), ["val/loss"])["monitor"] == "val/loss"
    for scheduler in (
        ReduceLROnPlateau(optimizer, monitor="val_loss"),
        torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer),
    ):
        with pytest.raises(InputError, match=r"set its monitor to one of val/loss$"):
            described(scheduler, ["val/loss"])


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        (
            partial(OneCycleLR, max_lr=0.1, total_steps=5),
            "Without effect, because OneCycleLR has rates of its own: lr_adapters 0.5\n",
        ),
        (
            partial(CyclicLR, base_lr=0.1, max_lr=0.2),
            "Without effect, because CyclicLR has rates of its own: lr_adapters 0.5\n",
        ),
        (partial(LinearLR, start_factor=0.1), ""),
        (partial(ReduceLROnPlateau, monitor="val/loss"), ""),
    ],
)
def test_a_schedule_with_rates_of_its_own_says_which_have_no_effect(schedule, says, groups, capsys):
    with_own_rates(schedule, SGD(groups, momentum=0.9))
    assert capsys.readouterr().out == says


def test_what_cannot_be_built_is_found_before_the_training(groups):
    check_custom(groups, None, None, [])
    check_custom(groups, partial(SGD, momentum=0.9), partial(OneCycleLR, max_lr=0.1, total_steps=5), [])
    with pytest.raises(InputError, match="has lr"):
        check_custom(groups, partial(SGD, lr=0.1), None, [])
    with pytest.raises(InputError, match="reads"):
        check_custom(groups, None, partial(ReduceLROnPlateau, monitor="x"), [])


def step_too_often(optimizer):
    scheduler = OneCycleLR(optimizer, 0.1, total_steps=2)
    for _ in range(3):
        optimizer.step()
        scheduler.step()


def step_densely(optimizer):
    optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
    SparseAdam(optimizer.param_groups[0]["params"]).step()


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        (step_too_often, "OneCycleLR of model.lr_scheduler does not work here: Tried to step 3 times"),
        (step_densely, "SparseAdam of model.optimizer does not work here: SparseAdam does not support dense gradients"),
    ],
)
def test_an_optimizer_or_a_schedule_that_does_not_fit_is_one_line(fails, says, groups):
    with pytest.raises((ValueError, RuntimeError)) as raised:
        fails(SGD(groups))
    assert str(as_input_error(raised.value)).startswith(says)


class Own(Optimizer):
    def step(self, closure=None):
        raise RuntimeError("a fault of one's own")


def test_the_faults_of_ones_own_optimizer_keep_their_traceback(groups):
    with pytest.raises(RuntimeError) as raised:
        Own(groups, {}).step()
    assert as_input_error(raised.value) is None


def test_values_of_the_schedule_that_a_custom_one_replaces_are_said(capsys):
    RateSchedule().say_replaced()
    assert capsys.readouterr().out == ""
    RateSchedule(warmup_epochs=1.0, schedule="step").say_replaced()
    said = "Without effect, because lr_scheduler replaces the schedule: warmup_epochs 1.0, schedule step\n"
    assert capsys.readouterr().out == said
