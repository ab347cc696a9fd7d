"""A training that is interrupted resumes exactly also with callbacks of Lightning that decide how it goes on."""

import json
import signal
from contextlib import chdir
from functools import partial

import pytest

from tests.processes import AtCall, in_a_process, send
from tests.runs import run
from tests.stress.killed import outcome
from tests.train.one_epoch import callback

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


def test_a_training_that_early_stopping_ends_at_the_step_at_which_it_is_asked_to_end(ended_as_if_never_asked):
    stop = callback("EarlyStopping", monitor="val/loss", mode="min", patience=1, min_delta=1e9)
    assert ended_as_if_never_asked(10, "--trainer.max_epochs", "4", *stop) == 2
