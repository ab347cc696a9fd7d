"""Count, list and report the clips that were skipped because they cannot be read (``data.on_error`` skip)."""

import csv
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer

from peclip.data.batch import Batch
from peclip.data.manifest import Manifest
from peclip.errors import InputError, counted
from peclip.files import as_cell, atomic_write
from peclip.terminal import say
from peclip.train.callbacks.evaluation import EvaluationCallback
from peclip.train.callbacks.predictions import ShardWriter
from peclip.train.cluster.signals import reported_by_rank_zero
from peclip.train.evaluation import Outputs

FILE = "skipped.csv"

SPLITS = ("train", "val", "test", "predict")
"""Splits in the order of the file: those of training and evaluations, and the clips of ``peclip predict``."""


class SkippedClips(EvaluationCallback):
    """Records skipped clips and lists each once in ``skipped.csv`` of the run's folder, with the reason.

    Checkpoints carry the list, so that a resumed run also lists the clips that were skipped before the interruption. The
    ranks exchange their lists, and rank 0 writes the file.

    Attributes:
        latest: the clips that the current or latest evaluation has skipped.
    """

    def __init__(self) -> None:
        self.latest: set[int] = set()
        self._reasons: dict[tuple[str, int], str] = {}  # by split and clip
        self._read: set[str] = set()  # splits of which at least one clip was read
        self._reported = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Record the skipped clips of a batch; exchange them between ranks after the last batch, before validation.

        Raises:
            InputError: no clip of the epoch, and none before, could be read.
        """
        self._note("train", batch)
        if trainer.is_last_batch:
            self._gather(trainer, "train")
            self._write(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the list and print the number of skipped clips; the training may have ended within an epoch."""
        self._gather(trainer, "train")
        self._write(trainer, report=True)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the skipped clips of the latest evaluation."""
        self.latest = set()

    on_test_start = on_predict_start = on_validation_start

    def on_evaluated(self, trainer: Trainer, outputs: Outputs, batch: Batch) -> None:
        """Record the skipped clips of an evaluated batch."""
        self._note(_split(trainer), batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Exchange the skipped clips between ranks, before the scores are computed.

        Raises:
            InputError: no clip could be read.
        """
        if not trainer.sanity_checking:
            self._gather(trainer, _split(trainer))

    on_test_epoch_end = on_predict_epoch_end = on_validation_epoch_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the list; print the number of skipped clips after ``peclip validate``."""
        if not trainer.sanity_checking:
            self._write(trainer, report=trainer.state.fn == "validate")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the list and print the number of skipped clips."""
        self._write(trainer, report=True)

    on_predict_end = on_test_end

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the clips that all ranks have skipped so far; only the checkpoint of rank 0 is written."""
        if _skips(trainer):
            self._exchange(trainer)
            reasons = [[split, clip, reason] for (split, clip), reason in self._reasons.items()]
            checkpoint["skipped"] = {"reasons": reasons, "read": sorted(self._read)}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the clips that an interrupted run skipped; the best checkpoint, loaded after training, adds none."""
        kept = checkpoint.get("skipped", {"reasons": [], "read": []})
        for split, clip, reason in kept["reasons"]:
            self._reasons.setdefault((split, clip), reason)
        self._read |= set(kept["read"])

    def _note(self, split: str, batch: Batch) -> None:
        if batch.draws:
            self._read.add(split)
        for skipped in batch.skipped:
            self._reasons.setdefault((split, skipped.clip), skipped.reason)
            self.latest.add(skipped.clip)

    def _gather(self, trainer: Trainer, split: str) -> None:
        """Exchange the skipped clips between ranks.

        Raises:
            InputError: clips of the split were skipped and none was read, and no shards existed before.
        """
        if not _skips(trainer):
            return
        self._exchange(trainer)
        reasons = [reason for (there, _), reason in sorted(self._reasons.items()) if there == split]
        if reasons and split not in self._read and not _completes(trainer):
            kind = {"train": "training", "val": "validation", "test": "test", "predict": "given"}[split]
            error = InputError(
                f"none of the {kind} clips could be read, {len(reasons)} were skipped; the first: {reasons[0]}"
            )
            raise reported_by_rank_zero(trainer, error, status=2)

    def _exchange(self, trainer: Trainer) -> None:
        """Merge the records of all ranks on every rank; of two reasons for a clip, keep that of the lower rank."""
        if trainer.world_size == 1:
            return
        shares: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(shares, (self._reasons, self._read, self.latest))
        self._reasons = {}
        for reasons, read, latest in shares:
            self._reasons = reasons | self._reasons
            self._read, self.latest = self._read | read, self.latest | latest

    def _write(self, trainer: Trainer, report: bool = False) -> None:
        """Write the file on rank 0 if clips were skipped; print their number if it has changed."""
        if not _skips(trainer):
            return
        folder = trainer.log_dir  # a collective call: all ranks make it
        count = len(self._reasons)
        if not count or not trainer.is_global_zero:
            return
        if folder:
            self._list(trainer, Path(folder) / FILE)
        if report and count != self._reported:
            self._reported = count
            where = f": see {Path(folder) / FILE}" if folder else ""
            say(f"Skipped {counted(count, 'clip')} that could not be read{where}")

    def _list(self, trainer: Trainer, target: Path) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        with (
            atomic_write(target) as path,
            path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            rows = csv.writer(file)
            rows.writerow(["split", "path", "line", "reason"])
            for split in sorted({split for split, _ in self._reasons}, key=SPLITS.index):
                clips: Manifest = data.predicted if split == "predict" else getattr(data.splits, split)
                for there, clip in sorted(self._reasons):
                    if there == split:
                        path_there, line = as_cell(str(clips.table["path"].iat[clip])), clips.where(clip)
                        rows.writerow([split, path_there, line, self._reasons[split, clip]])


def skipped_clips(trainer: Trainer) -> int:
    """Return the number of clips that the latest evaluation has skipped."""
    found = [callback for callback in trainer.callbacks if isinstance(callback, SkippedClips)]  # type: ignore[attr-defined]
    return len(found[0].latest) if found else 0


def _split(trainer: Trainer) -> str:
    """Return the split of the running stage, one of :data:`SPLITS`."""
    assert trainer.state.stage
    return trainer.state.stage.dataloader_prefix or ""


def _skips(trainer: Trainer) -> bool:
    """Return whether clips may be skipped; without a datamodule they may not."""
    return getattr(trainer.datamodule, "on_error", "raise") == "skip"  # type: ignore[attr-defined]


def _completes(trainer: Trainer) -> bool:
    """Return whether a prediction adds shards to others, whose clips another process has predicted."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    return any(isinstance(callback, ShardWriter) and callback.completes for callback in callbacks)
