"""Errors of Lightning, torch and the system that a user can act on are one line."""

import errno

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from peclip.errors import InputError
from peclip.train.cli.user_errors import as_input_error
from tests.runs import run

pytestmark = pytest.mark.usefixtures("blank_pictures")

RAISED = """

-- Process 1 terminated with the following error:
Traceback (most recent call last):
  File "/lib/lightning/pytorch/loops/fit_loop.py", line 300, in setup_data
    raise ValueError(
{}
"""


def said(error):
    found = as_input_error(error)
    assert isinstance(found, InputError)
    assert "\n" not in str(found)
    return str(found)


def test_what_lightning_refuses_is_a_mistake_of_the_user():
    with pytest.raises(MisconfigurationException) as caught:
        Trainer(val_check_interval="many", logger=False)
    assert "Lightning refuses the options of the trainer: " in said(caught.value)


@pytest.mark.parametrize("kind", [ValueError, TypeError])
def test_errors_of_the_program_keep_their_traceback(kind):
    with pytest.raises(kind) as caught:
        raise kind("a bug")
    assert as_input_error(caught.value) is None


@pytest.mark.parametrize(
    ("last", "says"),
    [
        ("peclip.errors.InputError: the loss is nan", "the loss is nan"),
        (
            "ValueError:  `val_check_interval` (7) must be less",
            "refuses the options of the trainer: `val_check_interval` (7)",
        ),
    ],
)
def test_the_error_of_a_process_that_a_strategy_starts_is_one_line(last, says):
    assert says in said(ProcessRaisedException(RAISED.format(last), 1, 4711))


def test_an_error_of_the_gradient_is_not_that_of_the_optimizer_which_calls_the_step():
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)

    def closure():
        kept = weight.tanh()
        kept += 1
        kept.sum().backward()

    with pytest.raises(RuntimeError, match="inplace operation") as caught:
        optimizer.step(closure)
    assert as_input_error(caught.value) is None


def restored(restore, **content):
    """The error of Lightning that a step of restoring a checkpoint raises."""
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False)
    trainer.state.fn = TrainerFn.FITTING
    trainer.strategy._optimizers = [torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)]
    connector = trainer._checkpoint_connector
    connector._loaded_checkpoint = content
    with pytest.raises(Exception, match=r".") as caught:
        getattr(connector, restore)()
    return caught.value


@pytest.mark.parametrize(
    ("restore", "content"),
    [
        ("restore_optimizers_and_schedulers", {}),
        ("restore_optimizers_and_schedulers", {"optimizer_states": [{}]}),
        ("restore_loops", {"loops": {"fit_loop": {"epoch_progress": 5}}}),
        ("restore_callbacks", {"callbacks": {}, "pytorch-lightning_version": "x"}),
    ],
    ids=["no optimizer", "another optimizer", "another loop", "another version"],
)
def test_a_state_that_lightning_cannot_restore_is_one_line(restore, content):
    error = restored(restore, **({"other": 1} | content))
    assert "the state of the training in the checkpoint cannot be restored: " in said(error)


def test_an_error_of_the_program_in_such_a_process_keeps_its_traceback():
    text = RAISED.format("ValueError: a bug").replace("/lib/lightning/", "/lib/other/")
    assert as_input_error(ProcessRaisedException(text, 1, 4711)) is None


def test_a_process_that_is_killed_is_one_line():
    assert "SIGKILL" in said(ProcessExitedException("process 1 terminated with signal SIGKILL", 1, 4711, -9, "SIGKILL"))


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EMFILE, "Too many open files"), RuntimeError("received 0 items of ancdata")],
)
def test_too_many_open_files_name_the_limit(error):
    assert "too many open files: the limit is " in said(error)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--trainer.val_check_interval", "7"), "`val_check_interval` (7) must be less than or equal to the number"),
        (("--trainer.val_check_interval", "0"), "trainer.val_check_interval is 0"),
        (("--trainer.check_val_every_n_epoch", "0"), "trainer.check_val_every_n_epoch is 0"),
        (("--trainer.max_epochs", "0"), "trainer.max_epochs is 0: nothing would be trained"),
        (("--trainer.max_steps", "0"), "trainer.max_steps is 0: nothing would be trained"),
    ],
)
def test_limits_that_leave_nothing_to_do_are_one_line(options, says, tmp_path, monkeypatch, tiny_config):
    monkeypatch.chdir(tmp_path)
    result = run("fit", "--config", tiny_config, *options)
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    assert says in result.err
    assert not (tmp_path / "runs").exists()
