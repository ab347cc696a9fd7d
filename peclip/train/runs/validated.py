"""Report on how many of its validation clips a training has validated, if ``trainer.limit_val_batches`` limits them."""

import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from lightning.pytorch import Trainer

from peclip.data.datamodule import VideoDataModule
from peclip.errors import InputError
from peclip.model import Trained
from peclip.results.evaluation import read_metrics
from peclip.results.selection import Selection, Validated
from peclip.train.module import PEClipModule
from peclip.train.runs.checkpoint_io import LAST
from peclip.train.runs.checkpoints import PREVIOUS
from peclip.train.runs.folder import run_of_model


def validated_here(
    trainer: Trainer, module: PEClipModule, data: VideoDataModule, selection: Selection
) -> Validated | None:
    """Return on how many clips a training has validated; None for all validation clips, or if no checkpoint was chosen on them.

    Args:
        trainer: trainer of a training that has ended.
        module: module with the weights that are evaluated.
        data: data of the training.
        selection: clips on which the checkpoint was chosen.
    """
    clips, at_once, limit = len(data.splits.val), data.eval_batch_size * trainer.world_size, trainer.limit_val_batches
    batches = math.ceil(clips / at_once)
    used = min(limit, batches) if isinstance(limit, int) else int(limit * batches)
    chose = ["checkpoint"] if selection != "none" else []
    if module.calibrate and (chose or module.net.temperature != 1):
        chose.append("temperature")
    return Validated(used * at_once, clips, tuple(chose)) if chose and 0 < used < batches else None


def validated_before(source: str, trained: Trained) -> Validated | None:
    """Return on how many clips the training of a model has validated, as the report of its run, or its package, says.

    Args:
        source: the model, as the command line names it.
        trained: the model.
    """
    metrics = trained.record.scores if trained.record else None
    if run := run_of_model(source):
        with suppress(InputError):  # a damaged report is ignored; the evaluation writes another one
            metrics = read_metrics(run)
    found = metrics.validated if metrics else None
    if not found or Path(source).name not in (LAST, PREVIOUS):
        return found
    chose = tuple(each for each in found.chose if each != "checkpoint")
    return replace(found, chose=chose) if chose else None
