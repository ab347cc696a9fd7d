"""A run that is limited by steps, and killed or asked to end, resumes and ends with the same results."""

import signal
from functools import partial

import pytest

from tests.processes import AtCall, in_a_process, send
from tests.stress.killed import DIE, KILL, MODULE, going_on, in_training, on_a_fast_disk, outcome, run_in

pytestmark = pytest.mark.usefixtures("blank_pictures")

BY_STEPS = ["--trainer.max_epochs", "-1", "--trainer.max_steps"]


@pytest.mark.slow
def test_collected_gradients_are_not_lost_when_a_run_is_asked_to_end(options, tmp_path):
    """It ends by steps: after six, of two batches or of the last one of an epoch."""
    until = ["--trainer.max_steps", "6", "--trainer.max_epochs", "-1"]
    options = [*options, "--trainer.accumulate_grad_batches", "2", *until]
    (tmp_path / "whole").mkdir()
    assert run_in(tmp_path / "whole", *options).status == 0
    assert in_a_process(tmp_path / "ended", options, in_training(8, partial(send, signal.SIGTERM)))[0] == 143
    going_on(tmp_path / "ended", options, outcome(tmp_path / "whole/runs/tiny/version_0"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "step", [pytest.param(3, marks=pytest.mark.stress), 6, pytest.param(7, marks=pytest.mark.stress)]
)
def test_a_run_ended_by_steps_resumes(options, tmp_path, step):
    """Killed before step 6, it resumes after the first epoch, which is complete."""
    options = [*options, *BY_STEPS, "8"]
    (tmp_path / "whole").mkdir()
    assert run_in(tmp_path / "whole", *options).status == 0
    assert in_a_process(tmp_path / "killed", options, partial(on_a_fast_disk, in_training(step)))[0] == -KILL
    going_on(tmp_path / "killed", options, outcome(tmp_path / "whole/runs/tiny/version_0"))


@pytest.mark.slow
def test_a_run_ended_by_steps_that_is_killed_in_its_evaluation_repeats_that(options, tmp_path):
    options = [*options, *BY_STEPS, "8"]
    (tmp_path / "whole").mkdir()
    assert run_in(tmp_path / "whole", *options).status == 0
    assert in_a_process(tmp_path / "killed", options, AtCall(f"{MODULE}.test_step", 1, DIE))[0] == -KILL
    going_on(tmp_path / "killed", options, outcome(tmp_path / "whole/runs/tiny/version_0"))


@pytest.mark.slow
def test_a_run_ended_by_steps_that_is_killed_after_its_last_validation_has_the_results_of_its_last_epoch(
    options, tmp_path
):
    """The validation of step 8, which is due together with a checkpoint, is before the end of the epoch."""
    options = [*options, *BY_STEPS, "8", "--trainer.val_check_interval", "3"]
    (tmp_path / "whole").mkdir()
    assert run_in(tmp_path / "whole", *options).status == 0
    at_the_end = AtCall(f"{MODULE}.on_train_epoch_end", 2, DIE)
    assert in_a_process(tmp_path / "killed", options, partial(on_a_fast_disk, at_the_end))[0] == -KILL
    going_on(tmp_path / "killed", options, outcome(tmp_path / "whole/runs/tiny/version_0"))


@pytest.mark.slow
@pytest.mark.parametrize("steps", ["5", "8"])
def test_more_steps_of_a_run_that_has_ended_are_those_of_one_that_had_them_from_the_start(options, tmp_path, steps):
    """Also if its steps ended within an epoch, which continues with the clips that are left of it."""
    constant = ["--model.schedule", "step", "--model.step_factor", "1", "--model.warmup_epochs", "0"]
    options = [*options, *constant, *BY_STEPS]
    for name, limit in (("once", "13"), ("twice", steps)):
        (tmp_path / name).mkdir()
        assert run_in(tmp_path / name, *options, limit).status == 0
    assert run_in(tmp_path / "twice", *options, "13", "--ckpt_path", "last", "--allow_changes", "true").status == 0
    once, twice = (outcome(tmp_path / name / "runs/tiny/version_0") for name in ("once", "twice"))
    assert once["last.ckpt"] == twice["last.ckpt"]
