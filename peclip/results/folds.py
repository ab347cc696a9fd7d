"""Records of a cross-validation: the result of each fold, of all clips as one test set, and of all folds together."""

from dataclasses import dataclass

from peclip.errors import counted
from peclip.results.bootstrap import Bootstrap, Estimate, Spread
from peclip.results.selection import Selection, selection_note


@dataclass(frozen=True)
class Fold:
    """The result of one fold.

    Attributes:
        fold: number of the fold in the data.
        run: name of the fold's folder.
        clips: number of test clips.
        skipped: further test clips that could not be read.
        war: weighted average recall.
        uar: unweighted average recall.
        per_class_recall: recall by label; None for a class without a clip.
        seconds: duration of the training; None if it is unknown.
        remarks: sentences on what is special about its evaluation, see :attr:`peclip.results.evaluation.Metrics.remarks`.
    """

    fold: int
    run: str
    clips: int
    skipped: int
    war: float
    uar: float
    per_class_recall: dict[str, float | None]
    seconds: float | None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pooled:
    """The clips of all folds as one test set.

    Attributes:
        war: weighted average recall.
        uar: unweighted average recall.
        per_class_recall: recall by label.
        confusion: C rows of C counts, truth in rows.
    """

    war: Estimate
    uar: Estimate
    per_class_recall: dict[str, Estimate]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class CrossValidationSummary:
    """The result of a cross-validation: the content of results.json.

    Attributes:
        name: name of the run.
        benchmark: name of the data set; None for a manifest.
        selection: clips on which the checkpoint of each fold was chosen.
        clips: number of test clips of all folds.
        skipped: further test clips that could not be read.
        war: weighted average recall over the folds.
        uar: unweighted average recall over the folds.
        per_class_recall: recall by label, over the folds where the class occurs.
        pooled: the clips of all folds as one test set.
        folds: result of each fold.
        trainable: number of trained parameters.
        parameters: number of all parameters.
        bootstrap: settings with which the intervals were computed.
        flops: floating-point operations of a clip in the vision tower; None if they are not known.
        method: name of the parts that were trained; None if the file does not say.
    """

    name: str
    benchmark: str | None
    selection: Selection
    clips: int
    skipped: int
    war: Spread
    uar: Spread
    per_class_recall: dict[str, Spread]
    pooled: Pooled
    folds: tuple[Fold, ...]
    trainable: int
    parameters: int
    bootstrap: Bootstrap
    flops: int | None = None
    method: str | None = None

    @property
    def title(self) -> str:
        """Name, folds and clips."""
        return f"Cross-validation {self.name}: {counted(len(self.folds), 'fold')}, {counted(self.clips, 'test clip')}"

    @property
    def means(self) -> dict[str, Spread]:
        """The spread of every rate, by the name that tables give it."""
        recalls = {f"recall {label}": spread for label, spread in self.per_class_recall.items()}
        return {"WAR": self.war, "UAR": self.uar, **recalls}

    @property
    def note(self) -> str:
        """Notes that readers of the rates need."""
        notes = [selection_note(self.selection, of="Each fold")]
        if self.skipped:
            notes.append(
                f"Skipped {counted(self.skipped, 'test clip')} that could not be read: see skipped.csv of the folds."
            )
        notes += [f"Fold {fold.fold}: {remark}." for fold in self.folds for remark in fold.remarks]
        return " ".join(notes)
