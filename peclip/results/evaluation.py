"""An evaluation on disk: metrics.json with its confusion matrix and predictions.csv, written and read."""

import csv
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from peclip.clip_format import ClipFormat, Views
from peclip.errors import InputError, counted, first_line, listed
from peclip.files import is_not, open_regular, write_json
from peclip.labels import MOST, label_of
from peclip.results.calibration import Calibrated
from peclip.results.figures import draw_confusion, write_confusion
from peclip.results.records import from_json, read_json
from peclip.results.scores import Scores, scores
from peclip.results.selection import EvaluatedSplit, Seen, Selection, Validated
from peclip.results.training import Training, read_training

METRICS, PREDICTIONS = "metrics.json", "predictions.csv"


@dataclass(frozen=True)
class Limited:
    """Size of an evaluation that was limited to some clips of its split.

    Attributes:
        clips: number of clips that it looked at.
        of: clips of the split.
    """

    clips: int
    of: int


@dataclass(frozen=True)
class Classes:
    """Classes of an evaluation that are not those of the model's training.

    Attributes:
        unseen: labels that the model was not trained on.
        reworded: labels that it was trained on with another class text.
        absent: labels of the training that the model does not choose from here.
    """

    unseen: tuple[str, ...] = ()
    reworded: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    @property
    def remarks(self) -> list[str]:
        """A sentence for each kind of difference."""
        kinds = {"not trained on": self.unseen, "with other class texts than in the training": self.reworded}
        kinds |= {"of the training not among the classes": self.absent}
        return [f"{counted(len(labels), 'label')} {what}: {listed(labels)}" for what, labels in kinds.items() if labels]


@dataclass(frozen=True)
class Metrics:
    """The scores of an evaluation and what they were measured on: the content of metrics.json.

    Attributes:
        split: split that was evaluated.
        selection: clips on which the checkpoint was chosen; none also if it was chosen on clips of another data set.
        trainable: number of trained parameters.
        parameters: number of all parameters.
        scores: scores of the model.
        benchmark: name of the data set; None for a manifest.
        fold: number of the fold that was tested; None if there are no folds.
        skipped: further clips that could not be read.
        zero_shot: scores of bare CLIP, if they were asked for.
        model: path or name of the model evaluated; None if the file does not say.
        clip_format: format of the clips; None if the file does not say.
        model_format: format of the clips of the training, if it differs from ``clip_format``; else None.
        limited: size of the evaluation, if it saw only some clips of the split; None for all of them.
        classes: differences of the classes from those of the training; None if there are none.
        other_labels: clips of the split that were omitted, by their label, which is none of the model's.
        calibration: whether the model is right as often as its probabilities say; None if the file does not say.
        flops: floating-point operations of a clip, in all its views, in the vision tower, a multiplication with its addition as
            two; None if they are not known.
        views: views of each clip; None for one.
        method: name of the parts that were trained, such as "PE-CLIP"; None if the file does not say.
        seen: numbers of clips that are not held out from the model; None for no clip, or if nothing is known about them.
        validated: number of clips on which the training validated; None for all of them, or if the file does not say.
    """

    split: EvaluatedSplit
    selection: Selection
    trainable: int
    parameters: int
    scores: Scores
    benchmark: str | None = None
    fold: int | None = None
    skipped: int = 0
    zero_shot: Scores | None = None
    model: str | None = None
    clip_format: ClipFormat | None = None
    model_format: ClipFormat | None = None
    limited: Limited | None = None
    classes: Classes | None = None
    other_labels: dict[str, int] | None = None
    calibration: Calibrated | None = None
    flops: int | None = None
    views: Views | None = None
    method: str | None = None
    seen: Seen | None = None
    validated: Validated | None = None

    @classmethod
    def from_json(cls, content: Any, source: str) -> "Metrics":
        """Build the metrics from the content of a metrics.json; files of earlier versions lack the last entries.

        Raises:
            InputError: an entry is missing or has another type.
        """
        scores = from_json(Scores, content, source)
        return from_json(cls, content | {"scores": scores}, source)

    def as_json(self) -> dict[str, Any]:
        """Return the content of metrics.json; rates are fractions."""
        known = (
            "model",
            "clip_format",
            "model_format",
            "limited",
            "classes",
            "other_labels",
            "calibration",
            "flops",
            "views",
            "method",
            "seen",
            "validated",
        )
        content = {name: value for name, value in asdict(self).items() if name not in known or value is not None}
        del content["scores"], content["zero_shot"]
        zero_shot = {"zero_shot": self.zero_shot.as_json()} if self.zero_shot else {}
        return content | self.scores.as_json() | zero_shot

    @property
    def remarks(self) -> list[str]:
        """Differences from an evaluation of the whole split, held out from the model, with the clip format of the training."""
        remarks = [*(self.seen.remarks if self.seen else []), *([str(self.views)] if self.views else [])]
        if self.limited:
            remarks.append(f"limited to {self.limited.clips:,} of {self.limited.of:,} clips")
        if self.validated:
            remarks.append(str(self.validated))
        if self.clip_format and self.model_format:
            for name, (here, there) in self.clip_format.differences(self.model_format).items():
                remarks.append(f"{name} {here}, but the model was trained with {there}")
        if self.classes:
            remarks += self.classes.remarks
        if self.other_labels:
            counted = listed(f"{label} {count:,}" for label, count in self.other_labels.items())
            remarks.append(f"omitted clips of other labels: {counted}")
        return remarks


PIECE = ["start", "end"]
"""Columns of predictions.csv where clips are pieces of videos."""


class Piece(NamedTuple):
    """A clip as it can be found again: a video, or the piece of one between two seconds."""

    path: str
    start: float
    end: float


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation, clip by clip.

    Attributes:
        folder: folder of its files.
        metrics: content of metrics.json.
        training: content of training.json here, or in the run whose model was evaluated; None if neither is known.
        labels: class names in the order of the logits.
        clips: the n clips, in the order of the test set.
        truth: index of the true class of each clip, int64 (n,).
        predicted: index of the predicted class of each clip, int64 (n,).
    """

    folder: Path
    metrics: Metrics
    training: Training | None
    labels: tuple[str, ...]
    clips: tuple[Piece, ...]
    truth: np.ndarray
    predicted: np.ndarray

    @property
    def seconds(self) -> float | None:
        """Duration of the training; None if the run did not train."""
        return self.training.seconds if self.training else None

    @property
    def confusion(self) -> np.ndarray:
        """Number of clips by true and predicted class, int64 (C, C), truth in rows."""
        counts = np.zeros((len(self.labels), len(self.labels)), dtype=np.int64)
        np.add.at(counts, (self.truth, self.predicted), 1)
        return counts

    @property
    def scores(self) -> Scores:
        """The scores, computed from the clips."""
        return scores(self.confusion, self.labels)


def write_evaluation(folder: Path, metrics: Metrics) -> None:
    """Write ``confusion.csv``, if the matrix is known, ``metrics.json``, and at last the picture ``confusion.png``."""
    found, labels = metrics.scores, list(metrics.scores.per_class_recall)
    if found.confusion is not None:
        write_confusion(folder / "confusion.csv", found.confusion, labels)
    write_json(folder / METRICS, metrics.as_json())
    if found.confusion is not None:
        title = f"WAR {found.war:.1%}, UAR {found.uar:.1%}, {counted(found.clips, 'clip')}"
        draw_confusion(folder / "confusion.png", found.confusion, labels, title)


def read_metrics(folder: Path) -> Metrics | None:
    """Read ``metrics.json``; None if there is none.

    Raises:
        InputError: it is damaged, or is not what peclip writes.
    """
    content = read_json(folder / METRICS)
    return None if content is None else Metrics.from_json(content, str(folder / METRICS))


def read_evaluation(folder: Path) -> Evaluation:
    """Read what an evaluation wrote into a folder; its training is that of the run above it if it trained nothing itself.

    Args:
        folder: folder of a run, of a fold, or of results such as ``test_0`` below a run.

    Raises:
        InputError: there is no run or no evaluation, a file is damaged, or two files are of different evaluations.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: {is_not(folder, 'folder')}, expected the folder of a run")
    again = f"peclip test --ckpt_path {folder} writes a complete one"
    try:
        metrics, run = read_metrics(folder), run_above(folder)
        training = read_training(folder) or (read_training(run) if run else None)
    except InputError as error:
        raise InputError(f"{error}; {again}") from error
    if metrics is None:
        runs = sorted(folder.glob(f"*/{METRICS}")) or sorted(folder.glob(f"*/*/{METRICS}"))
        hint = f"it holds runs, such as {runs[-1].parent}" if runs else again
        raise InputError(f"{folder} has no {METRICS}, so no finished evaluation; {hint}")
    if not (folder / PREDICTIONS).is_file():
        raise InputError(f"{folder / PREDICTIONS} is missing: {again}")
    found = Evaluation(folder, metrics, training, *_read_predictions(folder / PREDICTIONS))
    if metrics.scores.clips != len(found.clips) or metrics.scores.war != found.scores.war:
        raise InputError(f"{folder}: {METRICS} and {PREDICTIONS} are of different evaluations, or one is damaged")
    return found


def run_above(folder: Path) -> Path | None:
    """Return the run that a folder is an evaluation of, such as ``version_0`` of ``version_0/test_0``; None for any other."""
    run = folder.resolve().parent
    return run if (run / "checkpoints").is_dir() else None


def _read_predictions(path: Path) -> tuple[tuple[str, ...], tuple[Piece, ...], np.ndarray, np.ndarray]:
    """Return the labels in their order, and each clip with its true and predicted class.

    Raises:
        InputError: the file cannot be read, or is not that of an evaluation.
    """
    try:
        with TextIOWrapper(  # names of files need not be UTF-8
            open_regular(path), newline="", encoding="utf-8", errors="surrogateescape"
        ) as file:
            rows = csv.reader(file)
            header = next(rows, [])
            first = 3 if header[1:3] == PIECE else 1
            if [*header[:1], *header[first : first + 2]] != ["path", "label", "predicted"]:
                raise InputError(f"{path} lacks the columns path, label and predicted of an evaluation")
            labels = tuple(map(label_of, header[first + 2 :]))
            if len(labels) > MOST:
                raise InputError(f"{path} has columns of {len(labels):,} labels, expected at most {MOST:,}")
            index = {label: place for place, label in enumerate(labels)}
            clips = [_clip(row, first, index, f"{path} line {rows.line_num}") for row in rows if row]
    except (OSError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}") from error
    if not clips:
        raise InputError(f"{path} holds no clip")
    pieces, truth, predicted = zip(*clips, strict=True)
    return labels, pieces, np.array(truth, dtype=np.int64), np.array(predicted, dtype=np.int64)


def _clip(row: list[str], first: int, index: Mapping[str, int], where: str) -> tuple[Piece, int, int]:
    """Return the clip of a row, and its true and predicted class, which stand from the first column on.

    Raises:
        InputError: the row is damaged, one of its classes is unknown, or its start or end is not a finite number.
    """
    expected = first + 2 + len(index)
    if len(row) != expected:
        raise InputError(f"{where} has {len(row)} cells, expected {expected}: the file is damaged")
    truth, predicted = row[first : first + 2]
    for column, label in (("label", truth), ("predicted", predicted)):
        if label not in index:
            raise InputError(f"{where}: {column} {label!r} is none of {listed(index)}")
    start, end = row[1:first] or ("", "")
    try:
        if not all(math.isfinite(float(cell)) for cell in (start, end) if cell):
            raise ValueError("not a finite number")
        piece = Piece(row[0].removeprefix("./"), float(start or 0), float(end or math.inf))
    except ValueError as error:
        raise InputError(f"{where}: start and end are {start!r} and {end!r}, expected seconds") from error
    return piece, index[truth], index[predicted]
