"""A training that a callback or a number of steps ends resumes exactly, as it was or with more steps."""

import json
import signal
from contextlib import chdir
from functools import partial

import pytest

from tests.processes import AtCall, in_a_process, send
from tests.runs import run
from tests.stress.killed import outcome
from tests.train.one_epoch import callback, column

pytestmark = pytest.mark.usefixtures("blank_pictures")

STEP = "peclip.train.module:PEClipModule.training_step"


@pytest.fixture
def ended_as_if_never_asked(tiny_config, tmp_path):
    """Compare a run of steps of two clips with one that is asked to end at a step, and resumed; return the steps that it has."""

    def compare(step, *more):
        options = ["fit", "--config", str(tiny_config), "--data.batch_size", "2", "--model.zero_shot", "false", *more]
        (tmp_path / "whole").mkdir()
        with chdir(tmp_path / "whole"):
            whole = run(*options)
        assert (whole.status, whole.err) == (0, "")
        asked = AtCall(STEP, step, partial(send, signal.SIGTERM))
        assert in_a_process(tmp_path / "asked", options, asked)[0] == 143
        with chdir(tmp_path / "asked"):
            resumed = run(*options, "--ckpt_path", "last")
        assert resumed.status == 0, resumed.err
        runs = [tmp_path / name / "runs/tiny/version_0" for name in ("whole", "asked")]
        assert outcome(runs[1]) == outcome(runs[0])
        return json.loads((runs[0] / "training.json").read_text())["epochs"]

    return compare


@pytest.mark.parametrize(
    ("step", "patience", "every"), [pytest.param(10, 1, "1.0", marks=pytest.mark.slow), (9, 3, "2")]
)
def test_a_training_that_early_stopping_ends_at_the_step_at_which_it_is_asked_to_end(
    step, patience, every, ended_as_if_never_asked
):
    """After the last batch of an epoch, or within it: then the epoch has results, too."""
    stop = callback("EarlyStopping", monitor="val/loss", mode="min", patience=patience, min_delta=1e9)
    limits = ("--trainer.max_epochs", "4", "--trainer.val_check_interval", every)
    assert ended_as_if_never_asked(step, *limits, *stop) == 2


def test_an_epoch_that_continues_with_more_steps_counts_all_its_clips(tiny_config, tmp_path):
    constant = ["--model.schedule", "step", "--model.step_factor", "1", "--model.warmup_epochs", "0"]
    options = ["fit", "--config", tiny_config, "--data.batch_size", "2", "--model.zero_shot", "false", *constant]
    by_steps = ["--trainer.max_epochs", "-1", "--trainer.max_steps"]
    for name in ("once", "twice"):
        (tmp_path / name).mkdir()
    with chdir(tmp_path / "once"):
        assert run(*options, *by_steps, "5").status == 0
    with chdir(tmp_path / "twice"):
        assert run(*options, *by_steps, "3").status == 0
        resumed = run(*options, *by_steps, "5", "--ckpt_path", "last")
    assert (resumed.status, resumed.err) == (0, "")
    for metric in ("train/loss_epoch", "train/war"):
        once, twice = (column(tmp_path / name / "runs/tiny/version_0", metric) for name in ("once", "twice"))
        assert twice[1:] == once


def test_batches_are_accumulated_as_the_schedule_says_for_the_epoch_in_which_it_resumes(ended_as_if_never_asked):
    schedule = callback("GradientAccumulationScheduler", scheduling={"0": 1, "1": 3})
    ended_as_if_never_asked(8, "--trainer.max_epochs", "2", *schedule)
