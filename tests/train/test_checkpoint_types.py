"""The entries of a checkpoint beside weights have the types that peclip writes, or is refused in one line before anything is built."""

from copy import deepcopy

import pytest
import torch

from peclip.errors import InputError
from peclip.train.callbacks.training_time import TrainingTime
from peclip.train.runs.checkpoints import BestCheckpoint
from peclip.train.runs.resume import continued

BEST = BestCheckpoint(monitor="val/score", mode="max").state_key
TIMES = "TrainingTime"
PROGRESS = {"fit_loop": {"epoch_progress": {"current": {"processed": 2}}}}
CONTENT = {
    "global_step": 6,
    "loops": PROGRESS,
    "train_means": [0.0, 0.0, 0.0],
    "lr_schedulers": [{"last_epoch": 6}],
    "read_by_schedules": {"val/loss": 1.5},
    "callbacks": {
        TIMES: TrainingTime().state_dict(),
        BEST: BestCheckpoint(monitor="val/score", mode="max").state_dict(),
        "LastCheckpoint": {"options": {"name": "tiny"}, "order": {"seed_everything": 0}, "clips": {}, "ended": True},
        "Mine": 5,
    },
}


def saved(folder, *names, value):
    """A checkpoint with another value of an entry."""
    content = entry = deepcopy(CONTENT)
    *above, last = names
    for name in above:
        entry = entry[name]
    entry[last] = value
    torch.save(content, folder / "last.ckpt")
    return folder / "last.ckpt"


def test_a_checkpoint_of_peclip_is_resumed(tmp_path):
    found = continued(saved(tmp_path, "global_step", value=7))
    assert (found.steps, found.epochs, found.ended) == (7, 2, True)
    assert found.state["options"] == {"name": "tiny"}


@pytest.mark.parametrize("state", [{}, {"time_elapsed": {"train": 3.5}}], ids=["none", "0.1.0"])
def test_a_callback_may_lack_what_earlier_versions_did_not_save(state, tmp_path):
    assert continued(saved(tmp_path, "callbacks", TIMES, value=state)).steps == 6


@pytest.mark.parametrize(
    ("names", "value", "says"),
    [
        (("global_step",), "6", "global_step is '6', expected a whole number"),
        (("train_means",), "x", "train_means is 'x', expected three numbers"),
        (("train_means",), [0.0, None, 1.0], "train_means is [0.0, None, 1.0], expected three numbers"),
        (("read_by_schedules",), [1.0], "read_by_schedules is [1.0], expected numbers by the names of metrics"),
        (("read_by_schedules",), {"val/loss": "x"}, "is {'val/loss': 'x'}, expected numbers by the names of metrics"),
        (("lr_schedulers",), {"last_epoch": 6}, "lr_schedulers is {'last_epoch': 6}, expected a list of objects"),
        (("lr_schedulers",), [6], "lr_schedulers is [6], expected a list of objects"),
        (("lr_schedulers",), [{"last_epoch": "x"}], "last_epoch of a schedule is 'x', expected a whole number"),
        (("callbacks",), [1], "callbacks is [1], expected an object"),
        (("callbacks", TIMES), 5, "the state of TrainingTime is 5, expected an object"),
        (("callbacks", TIMES, "time_elapsed"), {"train": "x"}, "time_elapsed train is 'x', expected a number"),
        (("callbacks", TIMES, "waits"), {"input": "x"}, "waits: input is 'x', expected a number"),
        (("callbacks", BEST, "best_model_path"), 5, "BestCheckpoint: best_model_path is 5, expected a text"),
        (("callbacks", BEST, "best_k_models"), [1], "best_k_models is [1], expected an object"),
        (("callbacks", BEST, "best_k_models"), {1: torch.tensor(1.0)}, "expected scores by the paths of checkpoints"),
        (("callbacks", BEST, "best_k_models"), {"a": "x"}, "a is 'x', expected a score"),
        (("callbacks", BEST, "best_k_models"), {"a": None}, "a is None, expected a score"),
        (("callbacks", BEST, "kth_value"), torch.zeros(2), "kth_value is tensor([0., 0.]), expected a score"),
        (("callbacks", "LastCheckpoint"), "x", "the state of LastCheckpoint is 'x', expected an object"),
        (
            ("callbacks", "LastCheckpoint", "order"),
            {"seed_everything": "x"},
            "order seed_everything is 'x', expected a",
        ),
        (("callbacks", "LastCheckpoint", "options"), "x", "options is 'x', expected an object"),
    ],
)
def test_an_entry_of_another_type_is_refused_by_name(names, value, says, tmp_path):
    with pytest.raises(InputError, match=r"last\.ckpt: .*: use another checkpoint") as caught:
        continued(saved(tmp_path, *names, value=value))
    assert says in str(caught.value)


def test_a_nested_state_is_refused(tmp_path):
    options = {}
    for _ in range(30):
        options = {"a": options}
    with pytest.raises(InputError, match="nested deeper than 20 levels"):
        continued(saved(tmp_path, "callbacks", "LastCheckpoint", "options", value=options))


def test_the_best_checkpoint_is_checked_as_well(tmp_path):
    best = saved(tmp_path, "train_means", value="x")
    callback = BestCheckpoint(dirpath=tmp_path, monitor="val/score", mode="max")
    state = callback.state_dict() | {"best_model_path": str(best)}
    with pytest.raises(InputError, match="train_means is 'x', expected three numbers"):
        callback.load_state_dict(state)


def test_a_wait_of_a_later_version_is_ignored():
    callback = TrainingTime()
    callback.load_state_dict({"time_elapsed": {}, "waits": {"input": 2.0, "later": 1.0}})
    assert callback.state_dict()["waits"] == {"input": 2.0, "validation": 0.0, "checkpoints": 0.0, "logging": 0.0}
