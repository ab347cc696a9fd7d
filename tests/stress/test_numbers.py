"""Losses that are not finite, and workers that die: what is said, and what is kept."""

import signal
from functools import partial

import pytest
import torch

from peclip.data import datamodule
from peclip.data.dataset import ClipDataset
from peclip.train.module import PEClipModule
from tests.processes import AtCall, in_a_process, send


def options_of(tiny_config, **more):
    values = {"trainer.max_epochs": 2, "data.batch_size": 2, "last.every_n_steps": 2, **more}
    return [
        "fit",
        "--config",
        str(tiny_config),
        *(word for name, value in values.items() for word in (f"--{name}", str(value))),
    ]


def times(value, step):
    """Multiply the loss of a step."""
    training_step, calls = PEClipModule.training_step, []

    def broken(self, batch, batch_idx):
        calls.append(batch_idx)
        return training_step(self, batch, batch_idx) * (value if len(calls) == step else 1)

    PEClipModule.training_step = broken


@pytest.mark.parametrize(("step", "value"), [(7, float("nan")), (8, float("inf")), (10, float("nan"))])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_step_clips_and_rates(step, value, tiny_config, tmp_path):
    """A checkpoint is due in step 8 of 10; in step 10 the epoch ends, and with it the training."""
    status, err = in_a_process(tmp_path, options_of(tiny_config), partial(times, value, step))
    assert status == 2
    (line,) = err.splitlines()
    assert f"the loss is {value} in step {step} (epoch 2) with the learning rates" in line
    assert line.count(".mp4") == (1 if step == 10 else 2)
    content = torch.load(tmp_path / "runs/tiny/version_0/checkpoints/last.ckpt", weights_only=True)
    assert content["global_step"] == (6 if step < 10 else 8)
    assert all(weight.isfinite().all() for weight in content["state_dict"].values())


def nan_gradients():
    def broken(self, optimizer):
        if self.trainer.global_step == 7:
            next(weight for weight in self.parameters() if weight.grad is not None).grad.fill_(float("nan"))

    PEClipModule.on_before_optimizer_step = broken


def test_weights_that_are_not_finite_are_not_saved(tiny_config, tmp_path):
    status, err = in_a_process(tmp_path, options_of(tiny_config), nan_gradients)
    assert status == 2
    assert "the gradients were not finite, nor are the weights in step 8" in err
    content = torch.load(tmp_path / "runs/tiny/version_0/checkpoints/last.ckpt", weights_only=True)
    assert content["global_step"] == 6


class Deadly(ClipDataset):
    """A dataset whose workers die at the third clip that they read."""

    def __setstate__(self, state):
        self.__dict__.update(state)
        AtCall("peclip.data.dataset:read_clip", 3, partial(send, self.number))()


def deadly(number, *args):
    dataset = Deadly(*args)
    dataset.number = number
    return dataset


def workers_die(number):
    datamodule.ClipDataset = partial(deadly, number)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSEGV, marks=pytest.mark.stress)])
def test_a_worker_that_dies_is_named_with_the_clip_it_read(number, tiny_config, tmp_path):
    options = options_of(tiny_config, **{"data.num_workers": 1})
    status, err = in_a_process(tmp_path, options, partial(workers_die, number))
    assert status == 2
    line = err.splitlines()[-1]
    assert line.startswith("peclip: error: the process ")
    assert "which reads clips, died while it read" in line
    assert line.count(".mp4") == 1
    assert "manifest.csv line" in line
