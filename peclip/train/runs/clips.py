"""Identify the clips of a run, and the settings that determine which of them form a step: a run resumes with the same."""

import hashlib

from lightning.pytorch import Trainer

from peclip.data.datamodule import VideoDataModule
from peclip.data.manifest import Manifest
from peclip.data.manifest.soft import soft_columns

BATCH = "data.batch_size times devices"


def same_batches(trainer: Trainer, data: VideoDataModule) -> dict[str, int]:
    """Return the settings that determine which clips form a training step."""
    return {
        BATCH: data.batch_size * trainer.world_size,
        "trainer.accumulate_grad_batches": trainer.accumulate_grad_batches,
        "seed_everything": data.seed,
        "number of training clips": len(data.splits.train),
    }


def split_digests(data: VideoDataModule) -> dict[str, str]:
    """Return a digest of the clips of each split: their paths, labels (soft ones if they are used) and times, in order."""
    splits = data.splits
    soft = soft_columns(splits.train.table).values() if data.soft_labels else ()
    return {
        "training": _digest(splits.train, *soft),
        "validation": _digest(splits.val),
        "test": _digest(splits.test),
    }


def _digest(clips: Manifest, *more: str) -> str:
    table = clips.table[["path", "label", "start", "end", *more]]
    return hashlib.sha256(table.to_csv(index=False, header=False).encode(errors="surrogateescape")).hexdigest()
