"""Reads back what an evaluation left in the folder of a run: scores, predictions clip by clip, and the training time."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from peclip.errors import InputError
from peclip.results.scores import Scores, scores

NEEDED = ("split", "selection", "clips", "war", "uar", "trainable", "parameters")
"""What metrics.json has to tell."""


@dataclass(frozen=True)
class Evaluation:
    """What a run left.

    Attributes:
        folder: of the run.
        metrics: the content of metrics.json.
        training: the content of training.json; empty where the run did not train.
        labels: class names in the order of the logits.
        clips: a row a clip, with ``path``, ``label`` and ``predicted``, in the order of the test set.
    """

    folder: Path
    metrics: dict[str, Any]
    training: dict[str, Any]
    labels: list[str]
    clips: pd.DataFrame

    @property
    def truth(self) -> np.ndarray:
        """The index of the true class of each clip, int64 (n,)."""
        return self._indices("label")

    @property
    def predicted(self) -> np.ndarray:
        """The index of the predicted class of each clip, int64 (n,)."""
        return self._indices("predicted")

    @property
    def seconds(self) -> float | None:
        """How long the training took; None where the run did not train."""
        return self.training.get("seconds")

    @property
    def skipped(self) -> int:
        """How many further clips could not be read and were left out."""
        return self.metrics.get("skipped", 0)

    @property
    def scores(self) -> Scores:
        """The scores, computed from the clips."""
        confusion = np.zeros((len(self.labels), len(self.labels)), dtype=np.int64)
        np.add.at(confusion, (self.truth, self.predicted), 1)
        return scores(confusion, self.labels)

    def _indices(self, column: str) -> np.ndarray:
        return self.clips[column].map({label: index for index, label in enumerate(self.labels)}).to_numpy(np.int64)


def read_evaluation(folder: Path) -> Evaluation:
    """Read what an evaluation left in the folder of a run.

    Raises:
        InputError: there is no run or no evaluation, a file is torn, or two files are of different evaluations.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, expected the folder of a run")
    again = f"peclip test --ckpt_path {folder} leaves a run that has it"
    metrics = read_json(folder / "metrics.json")
    if metrics is None:
        runs = sorted(folder.glob("*/metrics.json"))
        hint = f"it holds runs, such as {runs[-1].parent}" if runs else again
        raise InputError(f"{folder} has no metrics.json, so no finished evaluation; {hint}")
    if lacks := [name for name in NEEDED if name not in metrics]:
        raise InputError(f"{folder / 'metrics.json'} lacks {lacks[0]}: {again}")
    if not (folder / "predictions.csv").is_file():
        raise InputError(f"{folder / 'predictions.csv'} is missing: {again}")
    clips, labels = _read_clips(folder / "predictions.csv")
    found = Evaluation(folder, metrics, read_json(folder / "training.json") or {}, labels, clips)
    if metrics["clips"] != len(clips) or metrics["war"] != found.scores.war:
        raise InputError(f"{folder}: metrics.json and predictions.csv are of different evaluations, or one is torn")
    return found


def _read_clips(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return the clips of predictions.csv with path, label and predicted, and the labels in their order."""
    try:
        clips = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if list(clips)[:3] != ["path", "label", "predicted"] or not len(clips):
        raise InputError(f"{path} has not the columns path, label and predicted of an evaluation, or no clip")
    labels = [str(name) for name in clips][3:]
    for column in ("label", "predicted"):
        if (unknown := ~clips[column].isin(labels)).any():
            row = int(unknown.to_numpy().argmax())
            raise InputError(
                f"{path} line {row + 2}: {column} {clips[column].iat[row]!r} is none of {', '.join(labels)}"
            )
    return clips[["path", "label", "predicted"]], labels


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the content of a json file; None where there is none.

    Raises:
        InputError: it is torn.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is torn: it holds no names with values")
    return found
