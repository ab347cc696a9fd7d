"""Learning rates of a training: those of each group, the warm-up, and the schedule after it."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import ReduceLROnPlateau

from peclip.errors import InputError
from peclip.model import GRUHead
from peclip.train.module import PEClipModule
from tests.model.small import build
from tests.runs import LABELS
from tests.train.modules import EXPECTED_WARNINGS, Recorder, clips_of, digest, fit, module_of

pytestmark = EXPECTED_WARNINGS


@pytest.mark.parametrize(("rate", "expected"), [(None, 4e-4), (1e-3, 1e-3), (0.0, 0.0)])
def test_a_temporal_head_has_the_rate_of_the_adapters_or_its_own(tiny_clip, rate, expected):
    net = build(tiny_clip, labels=LABELS, num_frames=3, adapters={}, prompts=None, temporal=GRUHead)
    module = PEClipModule(net, lr_adapters=4e-4, lr_temporal=rate)
    (group,) = module.parameter_groups()
    assert (group["name"], group["lr"]) == ("temporal", expected)
    assert {id(weight) for weight in group["params"]} == {id(weight) for weight in net.temporal.parameters()}
    module.lr = 8e-4
    assert module.rates["temporal"] == pytest.approx(2 * expected)


def test_rates_that_are_numbers_of_numpy_become_those_of_python(tiny_net):
    """A checkpoint holds them within the state of the optimizer, and could not be read."""
    module = PEClipModule(tiny_net, lr_adapters=np.float64(4e-4), warmup_lr=np.float32(1e-5), lr_temporal=np.float64(1))
    for rate in (4e-4, np.float64(8e-4)):
        module.lr = rate
        numbers = (*module.rates.values(), module.rate_schedule.warmup_lr)
        assert {type(number) for number in numbers} == {float}


def test_adapters_and_prompts_have_rates_of_their_own_and_decay_on_everything(tiny_clip, tiny_data):
    module = module_of(tiny_clip, lr_adapters=4e-4, lr_prompts=8e-5, weight_decay=0.05)
    trainer = fit(module, clips_of(tiny_data), max_steps=1)
    (optimizer,) = trainer.optimizers
    adapters, prompts = optimizer.param_groups
    assert (adapters["initial_lr"], prompts["initial_lr"]) == pytest.approx((4e-4, 8e-5))
    assert {id(weight) for weight in adapters["params"]} == {id(weight) for weight in module.net.adapters.parameters()}
    assert {id(weight) for weight in prompts["params"]} == {id(weight) for weight in module.net.prompts.parameters()}
    assert type(optimizer) is torch.optim.AdamW
    assert adapters["weight_decay"] == prompts["weight_decay"] == 0.05


def test_rates_warm_up_in_a_line_and_fall_along_a_cosine_to_zero(tiny_clip, tiny_data):
    module = module_of(tiny_clip, lr_adapters=2e-4, lr_prompts=3e-5, warmup_epochs=1, warmup_lr=2e-5)
    recorder = Recorder()
    trainer = fit(module, clips_of(tiny_data), [recorder], max_epochs=5, limit_val_batches=0)
    # 15 steps, of which 3 warm up. By hand: 2e-5, then a third and two thirds of the way to the rate; half of the rate
    # in the middle of the cosine, (1 + cos(pi / 6)) / 2 of it after a sixth, and nothing at its end.
    adapters, prompts = zip(*recorder.rates, strict=True)
    assert len(adapters) == 15
    assert adapters[:4] == pytest.approx([2e-5, 8e-5, 14e-5, 20e-5])
    assert prompts[:4] == pytest.approx([2e-5, 2e-5 + 1e-5 / 3, 2e-5 + 2e-5 / 3, 3e-5])
    assert (adapters[9], prompts[9]) == pytest.approx((1e-4, 1.5e-5))
    assert (adapters[5], prompts[5]) == pytest.approx((2e-4 * 0.9330127, 3e-5 * 0.9330127))
    assert [group["lr"] for group in trainer.optimizers[0].param_groups] == pytest.approx([0, 0])


def rates(tiny_clip, tiny_data, max_epochs, **options):
    """The learning rates of the adapters, three an epoch."""
    recorder = Recorder()
    fit(
        module_of(tiny_clip, **options),
        clips_of(tiny_data),
        [recorder],
        max_epochs=max_epochs,
        limit_val_batches=0,
    )
    return [adapters for adapters, _ in recorder.rates]


def test_a_rate_below_the_start_of_the_warm_up_stays_where_it_is(tiny_clip, tiny_data):
    assert rates(tiny_clip, tiny_data, 1, lr_adapters=1e-5, warmup_lr=2e-5, warmup_epochs=1) == [1e-5] * 3


def test_without_warm_up_the_cosine_starts_at_the_rate(tiny_clip, tiny_data):
    assert rates(tiny_clip, tiny_data, 1, lr_adapters=1e-3, warmup_epochs=0) == pytest.approx([1e-3, 7.5e-4, 2.5e-4])


def test_rates_fall_step_by_step_where_asked_for(tiny_clip, tiny_data):
    options = {"lr_adapters": 1e-3, "warmup_lr": 4e-4, "schedule": "step", "step_epochs": 2, "step_factor": 0.5}
    assert rates(tiny_clip, tiny_data, 5, warmup_epochs=0, **options) == pytest.approx(
        [1e-3] * 6 + [5e-4] * 6 + [2.5e-4] * 3
    )
    assert rates(tiny_clip, tiny_data, 3, warmup_epochs=1, **options) == pytest.approx(
        [4e-4, 6e-4, 8e-4] + [1e-3] * 3 + [5e-4] * 3
    )


def test_a_rate_of_zero_is_zero(tiny_clip, tiny_data):
    assert rates(tiny_clip, tiny_data, 1, lr_adapters=0) == [0] * 3


@pytest.mark.parametrize("parts", ["adapters", "prompts"])
def test_either_kind_of_part_trains_without_the_other(parts, tiny_clip, tiny_data):
    options = {"prompts": None} if parts == "adapters" else {"adapters": {}}
    module = module_of(tiny_clip, net=build(tiny_clip, num_frames=3, labels=LABELS, **options))
    trainer = fit(module, clips_of(tiny_data), max_steps=1, limit_val_batches=0)
    (group,) = trainer.optimizers[0].param_groups
    assert group["initial_lr"] == {"adapters": 2e-4, "prompts": 3e-5}[parts]


def test_nothing_to_train_is_refused(tiny_clip, tiny_data):
    module = module_of(tiny_clip, net=build(tiny_clip, num_frames=3, adapters={}, prompts=None, labels=LABELS))
    with pytest.raises(InputError, match="nothing to train"):
        fit(module, clips_of(tiny_data), max_steps=1)


def test_a_schedule_without_an_end_is_refused(tiny_clip, tiny_data):
    with pytest.raises(InputError, match=r"trainer\.max_epochs"):
        fit(module_of(tiny_clip), clips_of(tiny_data), max_epochs=-1)


@pytest.mark.parametrize(
    "name", ["lr_adapters", "lr_prompts", "lr_temporal", "weight_decay", "warmup_epochs", "warmup_lr"]
)
@pytest.mark.parametrize("value", [-1e-3, math.inf, math.nan])
def test_numbers_out_of_range_are_refused(name, value, tiny_net):
    with pytest.raises(InputError, match=rf"^{name} is {value}"):
        PEClipModule(tiny_net, **{name: value})


@pytest.mark.parametrize(("name", "value"), [("step_epochs", 0), ("step_factor", 0.0), ("step_factor", 1.5)])
def test_steps_out_of_range_are_refused(name, value, tiny_net):
    with pytest.raises(InputError, match=rf"^{name} is {value}"):
        PEClipModule(tiny_net, **{name: value})


def falling(tiny_clip, tiny_data, callbacks=(), ckpt_path=None, metric="val/loss"):
    """A training whose rates fall where a metric does not improve by half; it validates after the second step of an epoch."""
    module, recorder = module_of(tiny_clip), Recorder()
    module.lr_scheduler = partial(ReduceLROnPlateau, monitor=metric, patience=0, threshold=0.5)
    options = {"max_epochs": 3, "val_check_interval": 2, "num_sanity_val_steps": 0}
    fit(module, clips_of(tiny_data), [*callbacks, recorder], ckpt_path, **options)
    return digest(module.net.trainable_state()), [rates[0] for rates in recorder.rates]


@pytest.mark.filterwarnings(
    "ignore:.*your dataloader is not resumable", "ignore:.*callbacks used to create the checkpoint"
)
@pytest.mark.parametrize(
    ("metric", "step", "when"),
    [
        ("val/loss", 4, {"every_n_train_steps": 4}),
        ("val/loss", 5, {}),  # after a validation
        ("train/loss_epoch", 3, {"save_on_train_epoch_end": True}),
    ],
)
def test_a_schedule_that_reads_a_metric_goes_on_where_a_run_resumes(metric, step, when, tiny_clip, tiny_data, tmp_path):
    saves = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, auto_insert_metric_name=False, **when)
    whole, rates = falling(tiny_clip, tiny_data, [saves], metric=metric)
    assert rates == pytest.approx([2e-4] * 6 + [2e-5] * 3)
    again = falling(tiny_clip, tiny_data, ckpt_path=str(tmp_path / f"{step}.ckpt"), metric=metric)
    assert again == (whole, rates[step:])


class Counted(ReduceLROnPlateau):
    """Notes what it reads."""

    def step(self, metrics, epoch=None):
        READ.append(float(metrics))
        super().step(metrics)


READ = []


class WithoutEnd(PEClipModule):
    def on_train_epoch_end(self):
        pass


class OwnStep(PEClipModule):
    def lr_scheduler_step(self, scheduler, metric):
        scheduler.step(metric)


class OwnMetric(PEClipModule):
    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameter_groups())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": Counted(optimizer, "mine"), "monitor": "mine"}}

    def on_train_epoch_end(self):
        super().on_train_epoch_end()
        self.log("mine", float(self.current_epoch))


@pytest.mark.parametrize("kind", [PEClipModule, WithoutEnd, OwnStep, OwnMetric])
def test_a_schedule_that_reads_a_metric_reads_that_of_each_epoch_once(kind, tiny_clip, tiny_data):
    READ.clear()
    module = kind(build(tiny_clip, labels=LABELS, num_frames=3))
    module.lr_scheduler = partial(Counted, monitor="val/loss")
    trainer = fit(module, clips_of(tiny_data), max_epochs=2)
    assert len({*READ}) == len(READ) == 2
    assert READ[-1] == pytest.approx(float(trainer.callback_metrics["mine" if kind is OwnMetric else "val/loss"]))
