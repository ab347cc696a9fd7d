"""The callback that writes predictions clip by clip."""

import csv
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from torch import Tensor

from peclip.data.batch import NO_INDEX
from peclip.data.manifest import Manifest
from peclip.files import atomic_write
from peclip.train.callbacks.run import module_and_data


class PredictionWriter(Callback):
    """Writes ``predictions.csv``: one row a clip with path, predicted label and the probability of each class.

    After an evaluation a row also has the true label, so that runs can be compared clip by clip.
    """

    def __init__(self) -> None:
        self._rows: dict[int, tuple[int, list[float]]] = {}

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: tuple[Tensor, Tensor],
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the probabilities of a batch."""
        clips, probabilities = outputs
        self._keep(clips, probabilities, probabilities)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the probabilities of a batch."""
        self._keep(outputs["clip"], outputs["logits"], outputs["logits"].softmax(dim=-1))

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the probabilities of a batch when validation is what was asked for, not a part of training."""
        if trainer.state.fn == "validate":
            self._keep(outputs["clip"], outputs["logits"], outputs["logits"].softmax(dim=-1))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file and say where it is."""
        if target := self._write(trainer, module_and_data(trainer)[1].predicted, truth=False):
            Console().print(f"{len(self._rows)} clips: {target}", highlight=False)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file beside the report."""
        self._write(trainer, module_and_data(trainer)[1].splits.test, truth=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file beside the report."""
        if trainer.state.fn == "validate":
            self._write(trainer, module_and_data(trainer)[1].splits.val, truth=True)

    def _keep(self, clips: Tensor, scores: Tensor, probabilities: Tensor) -> None:
        """Keep what was predicted: by the scores (B, C), of which rounded probabilities may be equal."""
        rows = zip(scores.argmax(dim=-1).tolist(), probabilities.tolist(), strict=True)
        self._rows |= {clip: row for clip, row in zip(clips.tolist(), rows, strict=True) if clip != NO_INDEX}

    def _write(self, trainer: Trainer, clips: Manifest, truth: bool) -> Path | None:
        """Write the file on rank 0, in the order of the clips."""
        folder = trainer.log_dir  # asks all ranks
        if trainer.world_size > 1:
            shares: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(shares, self._rows)
            self._rows = {index: row for share in shares for index, row in share.items()}
        if not folder or not trainer.is_global_zero:
            return None
        labels = module_and_data(trainer)[0].net.labels
        columns = ["path", "label"] if truth else ["path"]
        target = Path(folder) / "predictions.csv"
        with atomic_write(target) as path, path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow([*columns, "predicted", *labels])
            for index, (predicted, probabilities) in sorted(self._rows.items()):
                clip = (clips.table[column].iat[index] for column in columns)
                rows.writerow([*clip, labels[predicted], *(f"{value:.6f}" for value in probabilities)])
        return target
