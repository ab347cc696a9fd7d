"""Write predictions clip by clip: one csv file, or Parquet shards that a restart completes."""

import csv
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning.pytorch import LightningModule, Trainer

from peclip.data.batch import Batch
from peclip.data.datamodule import VideoDataModule
from peclip.data.manifest import Manifest
from peclip.errors import InputError, counted
from peclip.files import as_cell, atomic_write
from peclip.labels import column
from peclip.model.io.fits import model_digest
from peclip.results.evaluation import PIECE
from peclip.terminal import say
from peclip.train.callbacks.evaluation import EvaluationCallback, evaluated_clips, module_and_data
from peclip.train.cluster.ranks import of_all_ranks
from peclip.train.evaluation import LateOutputs, Outputs
from peclip.train.module import PEClipModule
from peclip.train.runs.shards import Prediction, ShardFolder, shardable_digest

if TYPE_CHECKING:
    import pyarrow as pa

WAIT = 1.0
"""Seconds between two checks for the shards of other ranks."""


class PredictionWriter(EvaluationCallback):
    """Writes ``predictions.csv``: a row per clip with path, predicted label and the probability of each class.

    If clips are pieces of videos, it also has their start and end. After an evaluation a row also has the true label, so that
    runs can be compared clip by clip.
    """

    def __init__(self) -> None:
        self._outputs: list[Outputs] = []
        self._late = LateOutputs()

    def on_evaluated(self, trainer: Trainer, outputs: Outputs, batch: Batch) -> None:
        """Keep the predictions of the batch before this one, so that the device need not wait; those of a training are not kept.

        Raises:
            InputError: an output is not finite; the message names its clip.
        """
        if trainer.state.fn != "fit":
            self._look(trainer)
            self._late.put(outputs)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the predictions of the last batch, and collect those of all ranks, before the scores are computed."""
        self._look(trainer)
        self._collect()

    on_test_epoch_end = on_predict_epoch_end = on_validation_epoch_end

    def _look(self, trainer: Trainer) -> None:
        if found := self._late.take():
            outputs, _ = found
            self._keep(_finite(outputs.known(), evaluated_clips(trainer)))

    def _keep(self, known: Outputs) -> None:
        self._outputs.append(known)

    def _collect(self) -> None:
        self._outputs = of_all_ranks(self._outputs)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the predictions and print the path of the file."""
        written, count = self._write(trainer, truth=False)
        if written:
            clips = len(evaluated_clips(trainer))
            some = f"{count:,} of " if count < clips else ""  # the others are beyond a limit, or cannot be read
            say(f"{some}{counted(clips, 'clip')}: {written}")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the predictions with true labels beside the report."""
        self._write(trainer, truth=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the predictions with true labels beside the report."""
        if trainer.state.fn == "validate":
            self._write(trainer, truth=True)

    def _write(self, trainer: Trainer, truth: bool) -> tuple[Path | None, int]:
        """Write the file on rank 0, and return its path and the number of its rows."""
        outputs = joined(self._outputs, len(module_and_data(trainer)[0].net.labels))
        self._outputs = []
        folder = trainer.log_dir  # a collective call: all ranks make it
        if not folder or not trainer.is_global_zero:
            return None, 0
        target = Path(folder) / "predictions.csv"
        write_csv(target, evaluated_clips(trainer), module_and_data(trainer)[0].net.labels, outputs, truth)
        return target, len(outputs.clip)


class ShardWriter(PredictionWriter):
    """Writes ``shard-00000.parquet`` and so on, and keeps only the current shard in memory.

    Args:
        folder: folder of the shards.
        data: the clips.
        labels: class names in the order of the logits.

    Attributes:
        completes: whether other shards existed before, so that this prediction covers only some of the clips.
    """

    def __init__(self, folder: ShardFolder, data: VideoDataModule, labels: Sequence[str]) -> None:
        super().__init__()
        self.folder, self.data, self.labels = folder, data, labels
        self.completes = False
        self._left: list[int] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Distribute the missing shards to the ranks; rank 0 checks for all, because shards may appear meanwhile."""
        left: list[int] = []
        if trainer.is_global_zero:
            resumed = self.folder.begun
            left = self.folder.begin()
            if resumed:
                total = len(self.folder.shards)
                say(f"Resuming in {self.folder.path}: {len(left)} of {total} shards are missing")
        left = trainer.strategy.broadcast(left)
        self.completes = len(left) < len(self.folder.shards)
        shares = [left[rank :: trainer.world_size] for rank in range(trainer.world_size)]
        self._left = shares[trainer.global_rank]
        self.data.shards = [[self.folder.clips_of(shard) for shard in share] for share in shares]

    def _keep(self, known: Outputs) -> None:
        """Write the shards that are complete, and keep the predictions of the current one.

        Raises:
            InputError: a shard cannot be written.
        """
        if len(known.clip):
            while int(known.clip[0]) not in self.folder.clips_of(self._left[0]):
                self._write_shard()
            self._outputs.append(known)

    def _collect(self) -> None:
        """Collect nothing: each rank writes the shards of its own clips."""

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the remaining shards of this rank."""
        while self._left:
            self._write_shard()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Wait for the other ranks on rank 0, and record that all shards are complete.

        The other ranks may take longer than the timeout of a barrier, so rank 0 looks for their files. If a rank dies, its launcher
        ends rank 0 too.
        """
        if not trainer.is_global_zero:
            return
        while not all(self.folder.has(shard) for shard in self.folder.shards):
            time.sleep(WAIT)
        self.folder.end()
        say(self.folder)

    def _write_shard(self) -> None:
        outputs = joined(self._outputs, len(self.labels))
        self.folder.write(self._left.pop(0), as_table(self.data.predicted, self.labels, outputs))
        self._outputs = []


def shard_writer(
    path: Path, data: VideoDataModule, module: PEClipModule, precision: str, clips_per_shard: int
) -> ShardWriter:
    """Return the callback that writes the predictions of a model into a folder of shards.

    Args:
        path: path of the folder of shards.
        data: the clips.
        module: the model, with its trained weights.
        precision: precision of the trainer, such as ``bf16-mixed``.
        clips_per_shard: number of clips of a shard, at least 1.

    Raises:
        InputError: the folder holds another prediction.
    """
    net, clips = module.net, data.predicted
    prediction = Prediction(
        clips=len(clips),
        manifest=shardable_digest(clips),
        clips_per_shard=clips_per_shard,
        labels=list(net.labels),
        num_frames=data.clip_format.num_frames,
        precision=precision,
        model=model_digest(net.config, net.trainable_state()),
        views=str(data.views) if data.views.count > 1 else None,
        calibrate=None if module.calibrate else False,
    )
    return ShardWriter(ShardFolder(path, prediction), data, net.labels)


def joined(outputs: Sequence[Outputs], classes: int) -> Outputs:
    """Concatenate the outputs of any number of batches, in the order of their clips."""
    clip = torch.cat([torch.empty(0, dtype=torch.int64), *(each.clip for each in outputs)])
    logits = torch.cat([torch.empty(0, classes), *(each.logits for each in outputs)])
    order = clip.argsort()
    return Outputs(clip[order], logits[order], outputs[0].temperature if outputs else 1.0)


def _finite(outputs: Outputs, clips: Manifest) -> Outputs:
    """Return outputs after checking that they are finite: for NaN the first class would be the most probable.

    Raises:
        InputError: an output is not finite; the message names its clip.
    """
    bad = ~outputs.logits.isfinite().all(dim=1)
    if bad.any():
        clip = clips.clip(int(outputs.clip[bad][0]))
        raise InputError(
            f"{clip.path} ({clip.where}): the output of the model is not finite: its weights may be damaged, or the precision "
            "too low for this clip (set trainer.precision 32-true)"
        )
    return outputs


def write_csv(path: Path, clips: Manifest, labels: Sequence[str], outputs: Outputs, truth: bool) -> None:
    """Write predictions as csv: path, true label if ``truth``, predicted label, and the probability of each label.

    If a clip has a start or an end, the columns of both follow the path. The column of a label is named after it, see
    :func:`peclip.labels.column`.
    """
    pieces = PIECE if clips.table[PIECE].notna().any(axis=None) else []
    columns = ["path", *pieces, *(["label"] if truth else [])]
    known = clips.table[columns].astype(object)
    known = known.where(known.notna(), "")
    values = zip(outputs.clip.tolist(), outputs.predicted.tolist(), outputs.probabilities, strict=True)
    with (
        atomic_write(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        rows = csv.writer(file)
        rows.writerow([*columns, "predicted", *map(column, labels)])
        for index, predicted, probabilities in values:
            clip, *others = (str(known[column].iat[index]) for column in columns)
            shown = (f"{value:.6f}" for value in probabilities.tolist())
            rows.writerow([as_cell(clip), *others, labels[predicted], *shown])


def as_table(clips: Manifest, labels: Sequence[str], outputs: Outputs) -> "pa.Table":
    """Return predictions as a table: path, start and end if the clips have them, predicted label, and a column per label."""
    import pyarrow as pa

    table = clips.table.iloc[outputs.clip.numpy()]
    columns = {"path": pa.array(table["path"], pa.string())}
    for name in PIECE:
        if clips.table[name].notna().any():
            columns[name] = pa.array(table[name], pa.float64(), from_pandas=True)
    columns["predicted"] = pa.array([labels[index] for index in outputs.predicted.tolist()], pa.string())
    probabilities = outputs.probabilities
    columns |= {column(label): pa.array(probabilities[:, index].numpy()) for index, label in enumerate(labels)}
    return pa.table(columns)
