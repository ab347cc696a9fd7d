"""Check the types of the entries of a checkpoint, except its weights, before a training resumes from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from peclip.errors import InputError, shown
from peclip.model.io.checkpoint import SELECTING
from peclip.model.torch_file import check_plain
from peclip.results.records import from_json
from peclip.results.training import Waits


@dataclass(frozen=True)
class _Times:
    """State of TrainingTime; files of peclip 0.1.0 have no waits."""

    time_elapsed: dict[str, float]
    waits: Waits | None = None


@dataclass(frozen=True)
class _Best:
    """State of BestCheckpoint, which is that of Lightning's ModelCheckpoint."""

    best_model_path: str
    kth_best_model_path: str
    last_model_path: str
    best_k_models: dict[str, Any]
    best_model_score: Any
    current_score: Any
    kth_value: Any

    def __post_init__(self) -> None:
        if not all(isinstance(path, str) for path in self.best_k_models):
            raise InputError(
                f"best_k_models is {shown(self.best_k_models)}, expected scores by the paths of checkpoints"
            )
        scores = {name: getattr(self, name) for name in ("best_model_score", "current_score", "kth_value")}
        known = {name: score for name, score in scores.items() if score is not None}
        for name, score in (known | self.best_k_models).items():
            if not isinstance(score, Tensor) or score.numel() != 1:
                raise InputError(f"{name} is {shown(score)}, expected a score")


@dataclass(frozen=True)
class _Last:
    """State of LastCheckpoint; files of earlier versions may lack each entry."""

    options: dict[str, Any] = field(default_factory=dict)
    order: dict[str, int] = field(default_factory=dict)
    clips: dict[str, str] = field(default_factory=dict)


STATES = {"TrainingTime": _Times, SELECTING: _Best, "LastCheckpoint": _Last}
"""States of peclip's callbacks by the names of their classes, with which Lightning's keys of states begin."""


def check_states(content: Mapping[str, Any], source: str) -> None:
    """Check the entries that peclip's callbacks and the training metrics restore from a checkpoint.

    Args:
        content: content of the checkpoint.
        source: name of the file, for messages.

    Raises:
        InputError: an entry has another type than peclip writes.
    """
    try:
        _check_states(content)
    except InputError as error:
        advice = "use another checkpoint, or start from its weights with --init_from"
        raise InputError(f"{source}: {error}: {advice}") from error


def _check_states(content: Mapping[str, Any]) -> None:
    if type(step := content.get("global_step", 0)) is not int:
        raise InputError(f"global_step is {shown(step)}, expected a whole number")
    means = content.get("train_means", [0.0, 0.0, 0.0])
    if not isinstance(means, list) or len(means) != 3 or not all(type(value) is float for value in means):
        raise InputError(f"train_means is {shown(means)}, expected three numbers")
    read = content.get("read_by_schedules", {})
    if not isinstance(read, dict) or not all(type(value) is float for value in read.values()):
        raise InputError(f"read_by_schedules is {shown(read)}, expected numbers by the names of metrics")
    schedules = content.get("lr_schedulers", [])
    if not isinstance(schedules, list) or not all(isinstance(schedule, dict) for schedule in schedules):
        raise InputError(f"lr_schedulers is {shown(schedules)}, expected a list of objects")
    for schedule in schedules:
        if type(step := schedule.get("last_epoch", 0)) is not int:
            raise InputError(f"last_epoch of a schedule is {shown(step)}, expected a whole number")
    callbacks = content.get("callbacks", {})
    if not isinstance(callbacks, dict):
        raise InputError(f"callbacks is {shown(callbacks)}, expected an object")
    for name, state in callbacks.items():
        owner = str(name).partition("{")[0]
        if owner in STATES and state:  # Lightning does not restore an empty state
            check_plain(state, f"the state of {owner}")
            from_json(STATES[owner], state, f"the state of {owner}")
