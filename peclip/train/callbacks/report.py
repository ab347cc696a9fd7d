"""Report an evaluation: its files and its printed results."""

from dataclasses import dataclass
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from peclip.model import ModelConfig, Trained
from peclip.model.naming import method_name
from peclip.results.evaluation import Classes, Limited, Metrics, write_evaluation
from peclip.results.formatting import print_metrics
from peclip.results.selection import EvaluatedSplit, Validated
from peclip.terminal import say
from peclip.train.callbacks.evaluation import (
    evaluated_clips,
    module_and_data,
    selection_of,
)
from peclip.train.callbacks.skipped import skipped_clips
from peclip.train.parameters import count_parameters, count_trainable
from peclip.train.runs.own_clips import OwnClips, own_clips, validated_before, validated_here


def other_classes(config: ModelConfig, trained: ModelConfig) -> Classes | None:
    """Return how the classes of a model differ from those of its training; None if they do not."""
    here, there = config.labels, trained.labels
    texts, before = config.texts or {}, trained.texts or {}
    both = [label for label in here if label in there]
    found = Classes(
        unseen=tuple(label for label in here if label not in there),
        reworded=tuple(label for label in both if texts.get(label) != before.get(label)),
        absent=tuple(label for label in there if label not in here),
    )
    return found if found.remarks else None


@dataclass(frozen=True)
class Evaluated:
    """Facts about an evaluation that are known before the first clip is read.

    Attributes:
        method: name of the parts of the model.
        parameters: number of parameters of the model.
        trainable: number of parameters of its trainable parts.
        clips: number of clips.
        own: clips that the model was trained and chosen on.
        other_labels: number of omitted clips by their label.
        validated: number of clips that the training validated on; None for all of its validation clips.
    """

    method: str
    parameters: int
    trainable: int
    clips: int
    own: OwnClips
    other_labels: dict[str, int] | None
    validated: Validated | None = None


class Report(Callback):
    """Writes the report of an evaluation into the run's folder and prints the results.

    Args:
        model: the trained model that is evaluated, as the command line names it; None for the one that this run trains.
        trained: the model as it was trained.
    """

    def __init__(self, model: str | None = None, trained: Trained | None = None) -> None:
        self._model, self._trained = model, trained
        self._classes: Classes | None = None
        self._evaluated = Evaluated("", 0, 0, 0, OwnClips("none"), None)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather the facts that need no clip: the name, the sizes and the classes of the model, and the clips that it knows."""
        module, data = module_and_data(trainer)
        _ = module.flops
        clips, own = evaluated_clips(trainer), OwnClips(selection_of(trainer, data, is_over=True))
        validated = validated_here(trainer, module, data, own.selection)
        if self._model and self._trained:
            validated = validated_before(self._model, self._trained)
            self._classes = other_classes(module.net.config, self._trained.config)
            split: EvaluatedSplit = "test" if trainer.testing else "validation"
            own = own_clips(self._model, self._trained, data, clips, split)
        omitted = data.other_clips("test" if trainer.testing else "val") or None
        method, sizes = method_name(module.net.config), (count_parameters(module.net), count_trainable(module.net))
        self._evaluated = Evaluated(method, *sizes, len(clips), own, omitted, validated)

    on_validation_start = on_test_start

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and print the results on the test clips."""
        self._report(trainer, "test")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and print the results of ``peclip validate``; a validation within a training is not reported."""
        if trainer.state.fn == "validate":
            self._report(trainer, "val")

    def _report(self, trainer: Trainer, stage: str) -> None:
        folder = trainer.log_dir  # a collective call: all ranks make it
        if not trainer.is_global_zero:
            return
        module, data = module_and_data(trainer)
        scores, skipped = module.scores[stage], skipped_clips(trainer)
        clips = self._evaluated.clips
        own, used = module.net.clip_format, data.clip_format
        metrics = Metrics(
            split="test" if stage == "test" else "validation",
            selection=self._evaluated.own.selection,
            seen=self._evaluated.own.seen,
            benchmark=data.benchmark,
            fold=data.fold,
            skipped=skipped,
            trainable=self._evaluated.trainable,
            parameters=self._evaluated.parameters,
            method=self._evaluated.method,
            flops=module.flops * data.views.count if module.flops and own.num_frames == used.num_frames else None,
            views=data.views if data.views.count > 1 else None,
            scores=scores,
            zero_shot=module.scores.get("zero_shot"),
            model=self._model,
            clip_format=used,
            model_format=own if own != used else None,
            classes=self._classes,
            other_labels=self._evaluated.other_labels,
            calibration=module.calibration,
            validated=self._evaluated.validated,
            limited=Limited(scores.clips + skipped, clips) if scores.clips + skipped < clips else None,
        )
        if folder:
            write_evaluation(Path(folder), metrics)
        print_metrics(metrics)
        if folder and trainer.state.fn != "fit" and self._model:
            say(f"The results are in {folder}")
