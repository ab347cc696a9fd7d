"""The callback that predicts in parts: it divides them over the ranks and writes them as they are done."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from peclip.data.batch import NO_INDEX
from peclip.data.datamodule import VideoDataModule
from peclip.errors import InputError
from peclip.model.io.trained import state_sum
from peclip.train.callbacks.predictions import PredictionWriter
from peclip.train.module import PEClipModule
from peclip.train.parts import Batch, PartFolder, as_table, clips_sum

WAIT = 1.0
"""Seconds between two looks at what other ranks have written."""


class PartWriter(Callback):
    """Writes ``part-00000.parquet`` and so on, and keeps no more than the part under way.

    Args:
        path: of the folder.
        data: the clips.
        module: the model, with its trained weights.
        precision: what the trainer computes in.
        size: clips of a part; at least 1.

    Raises:
        InputError: the folder holds another prediction, or a label has the name of another column.
    """

    def __init__(self, path: Path, data: VideoDataModule, module: PEClipModule, precision: str, size: int) -> None:
        self.data, self.labels, self.clips = data, module.net.labels, data.predicted
        if taken := {"path", "start", "end", "predicted"} & set(self.labels):
            raise InputError(f"the label {min(taken)!r} is the name of a column of the parts: rename it")
        made_of = {
            "clips": len(self.clips),
            "manifest": clips_sum(self.clips),
            "clips_per_part": size,
            "labels": self.labels,
            "num_frames": data.num_frames or module.net.clip_format.num_frames,
            "normalize": "clip" if module.net.clip_format.is_normalised else "none",
            "precision": precision,
            "model": _model_sum(module),
        }
        self.folder = PartFolder(path, made_of)
        self._left: list[int] = []
        self._batches: list[Batch] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Divide what is left over the ranks. Rank 0 looks for all: parts come to be while the others would look."""
        left: list[int] = []
        if trainer.is_global_zero:
            begun = self.folder.begun
            left = self.folder.begin()
            if begun:
                print(
                    f"Going on in {self.folder.path}: {len(left)} of {len(self.folder.parts)} parts are left",
                    flush=True,
                )
        left = trainer.strategy.broadcast(left)
        shares = [left[rank :: trainer.world_size] for rank in range(trainer.world_size)]
        self._left = shares[trainer.global_rank]
        self.data.shards = [[self.folder.clips_of(part) for part in share] for share in shares]

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: tuple[Tensor, Tensor],
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the parts that lie behind, and keep the probabilities of a batch.

        Raises:
            InputError: a part cannot be written.
        """
        clips, probabilities = (value.cpu() for value in outputs)
        known = clips != NO_INDEX  # the others were skipped
        if known.any():
            clips, probabilities = clips[known], probabilities[known]
            while int(clips[0]) not in self.folder.clips_of(self._left[0]):
                self._write()
            self._batches.append((clips, probabilities))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the rest of what this rank has to do."""
        while self._left:
            self._write()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Wait for the other ranks, and say that all is there.

        They may take longer than a barrier would wait; so rank 0 looks for what they write. If one dies, whoever has started
        the ranks ends this one too.
        """
        if not trainer.is_global_zero:
            return
        while not all(self.folder.has(part) for part in self.folder.parts):
            time.sleep(WAIT)
        self.folder.end()
        print(self.folder, flush=True)

    def _write(self) -> None:
        self.folder.write(self._left.pop(0), as_table(self.clips, self.labels, self._batches))
        self._batches = []


def add_options(parser: LightningArgumentParser) -> None:
    """Add the options of a prediction in parts to a parser."""
    text = "Folder for predictions in Parquet files of --clips_per_part clips; a restart skips those that are there."
    parser.add_argument("--parts", type=str | None, default=None, help=text)
    parser.add_argument("--clips_per_part", type=int, default=10_000, help="Clips of a file in --parts.")


def write_parts(trainer: Trainer, options: Namespace, data: VideoDataModule, module: PEClipModule) -> bool:
    """Let a trainer write parts instead of ``predictions.csv``, where the options of ``peclip predict`` ask for them.

    Returns:
        Whether there is something to predict; else all parts are there, and it is said.

    Raises:
        InputError: the folder holds another prediction.
    """
    if options.parts is None:
        return True
    writer = PartWriter(Path(options.parts), data, module, trainer.precision, options.clips_per_part)
    if writer.folder.rows is not None:
        rank_zero_only(print)(f"Nothing is left to predict of {writer.folder}")
        return False
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    callbacks[:] = [writer if isinstance(callback, PredictionWriter) else callback for callback in callbacks]
    return True


def _model_sum(module: PEClipModule) -> str:
    """Return a sum over what the logits depend on; where the CLIP lies is no part of it."""
    settings = {name: value for name, value in module.net.config.items() if name not in ("backbone", "input", "run")}
    return hashlib.sha256(
        (json.dumps(settings, sort_keys=True) + state_sum(module.net.trainable_state())).encode()
    ).hexdigest()
