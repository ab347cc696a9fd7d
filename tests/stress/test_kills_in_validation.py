"""A run that is killed or asked to end around a validation within an epoch resumes, and ends with the same results."""

import signal
from functools import partial

import pytest
import torch

from tests.processes import AtCall, in_a_process, send
from tests.stress.killed import (
    DIE,
    KILL,
    MODULE,
    going_on,
    in_training,
    in_validation,
    outcome,
    run_in,
    while_moving,
)

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.fixture(scope="module")
def validating(options):
    """A validation after every second of the five steps of an epoch, when a checkpoint is due as well."""
    return [*options, "--trainer.val_check_interval", "2"]


@pytest.fixture(scope="module")
def uninterrupted_validating(tmp_path_factory, validating):
    folder = tmp_path_factory.mktemp("uninterrupted_validating")
    result = run_in(folder, *validating)
    assert (result.status, result.err) == (0, "")
    return outcome(folder / "runs/tiny/version_0")


# Two batches each, after two of the check before the training.
IN_VALIDATIONS = {
    "at the start of the first": in_validation(3),
    "at the end of the second": in_validation(6),
    "in the second epoch": in_validation(8),
    "when its scores are computed": AtCall(f"{MODULE}.on_validation_epoch_end", 3, DIE),
    "while its checkpoint is moved": partial(while_moving, "last.ckpt"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [pytest.param(name, marks=() if name == "in the second epoch" else pytest.mark.stress) for name in IN_VALIDATIONS],
)
def test_a_validation_within_an_epoch_is_not_lost(moment, validating, uninterrupted_validating, tmp_path):
    assert in_a_process(tmp_path, validating, IN_VALIDATIONS[moment])[0] == -KILL
    going_on(tmp_path, validating, uninterrupted_validating)


@pytest.mark.stress
@pytest.mark.parametrize("step", [2, 7, 8])
def test_a_validation_within_an_epoch_is_run_once_when_a_run_is_asked_to_end(
    step, validating, uninterrupted_validating, tmp_path
):
    asked = in_training(step, partial(send, signal.SIGTERM))
    assert in_a_process(tmp_path, validating, asked)[0] == 143
    content = torch.load(tmp_path / "runs/tiny/version_0/checkpoints/last.ckpt", weights_only=True)
    assert content["global_step"] == step
    going_on(tmp_path, validating, uninterrupted_validating)
