"""What a run shows and leaves behind: the summary before it, its progress, its time, and the report after it."""

import csv
import json
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar, Timer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from peclip.data.datamodule import VideoDataModule
from peclip.data.manifest import Manifest
from peclip.train.module import PEClipModule
from peclip.train.report import print_scores, write_report, written
from peclip.train.skipped import skipped_clips


class Summary(Callback):
    """Prints, before training, what is trainable, where, how much, and what the clips are."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the tables on rank 0."""
        if not trainer.is_global_zero:
            return
        net, data = _parts(trainer)
        total = sum(weight.numel() for weight in net.net.parameters())
        table = Table(title=f"PE-CLIP on {net.net.backbone.name}, frozen", title_justify="left", show_footer=True)
        rows = [(type(part).__name__, where, blocks, count) for part, where, blocks, count in trainable_parts(net)]
        trainable = sum(count for *_, count in rows)
        table.add_column("trainable part", "all")
        table.add_column("where", f"of {total:,} parameters")
        table.add_column("blocks", "", justify="right")
        table.add_column("parameters", f"{trainable:,}", justify="right")
        table.add_column("share", f"{trainable / total:.2%}", justify="right")
        for name, where, blocks, count in rows:
            table.add_row(name, where, str(blocks), f"{count:,}", f"{count / total:.2%}")
        Console().print(table)
        splits = data.splits
        print(
            f"{len(splits.train)} training, {len(splits.val)} validation, {len(splits.test)} test clips of "
            f"{len(data.labels)} classes from {data.source.source}; {data.num_frames} frames a clip, "
            f"{net.image_size} px, batch {data.batch_size}, precision {trainer.precision}, seed {data.seed}"
        )
        for note in data.source.notes:
            print(note)
        print(SELECTION[data.selection], flush=True)


SELECTION = {
    "validation": "The best checkpoint is chosen on validation clips; the test clips are read once, at the end.",
    "test": "val: test: the best checkpoint is chosen on the test clips, so its test result is optimistic.",
    "none": "There are no validation clips: the last checkpoint is kept.",
}


def trainable_parts(module: PEClipModule) -> list[tuple[torch.nn.Module, str, int, int]]:
    """Return (an example, where, how many blocks, parameters) of every trainable part."""
    net = module.net
    parts = []
    for tower, sites in net.adapters.named_children():
        for part, blocks in sites.named_children():
            example = next(blocks.children())
            parts.append((example, f"{tower}.{part}", len(list(blocks.children())), _count(blocks)))
    if net.prompts:
        parts.append((net.prompts, "both towers", net.prompts.depth, _count(net.prompts)))
    return parts


class Progress(RichProgressBar):
    """Rich's progress bar with time left, and the clips a second of this device."""

    def __init__(self) -> None:
        super().__init__()
        self._since, self._clips = 0.0, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to count: a run that goes on in mid-epoch starts none."""
        super().on_train_start(trainer, pl_module)
        self._since = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to count."""
        super().on_train_epoch_start(trainer, pl_module)
        self._since, self._clips = time.perf_counter(), 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the clips of a batch."""
        self._clips += len(batch["draws"])
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return what stands behind the bar."""
        metrics: dict[str, Any] = {
            name: value for name, value in trainer.progress_bar_metrics.items() if name != "v_num"
        }
        for name in ("train/loss", "val/war", "val/uar"):
            if name in trainer.callback_metrics:
                metrics[name] = f"{float(trainer.callback_metrics[name]):.3f}"
        if self._clips:
            metrics["clips/s"] = f"{self._clips / (time.perf_counter() - self._since):.1f}"
        return metrics


class EpochLines(Callback):
    """Prints one line an epoch where the output is no terminal, such as the log of a cluster job."""

    def __init__(self) -> None:
        self._start = self._epoch_start = 0.0
        self._first_step = self._clips = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clocks: a run that goes on in mid-epoch starts no epoch."""
        self._start = self._epoch_start = time.perf_counter()
        self._first_step = trainer.global_step

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the epoch's clock."""
        self._epoch_start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the clips of a batch."""
        self._clips += len(batch["draws"]) * trainer.world_size

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line on rank 0."""
        if not trainer.is_global_zero:
            return
        now = time.perf_counter()
        done, epochs = trainer.current_epoch + 1, trainer.max_epochs or -1
        share_of_run = (trainer.global_step - self._first_step) / trainer.global_step  # the rest was before it
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        shown = " ".join(
            f"{name} {values[name]:.3f}" for name in ("train/loss", "val/loss", "val/war", "val/uar") if name in values
        )
        each = (now - self._start) / (done * share_of_run)
        left = f", {each * (epochs - done):.0f} s left" if epochs > 0 else ""
        rate, self._clips = self._clips / (now - self._epoch_start), 0
        print(f"epoch {done}/{epochs}: {shown}, {rate:.1f} clips/s with validation{left}", flush=True)


class TrainingTime(Timer):
    """Writes ``training.json``: how long the training took, validation included, on what, and how many epochs.

    Checkpoints carry the time, so that a training that was interrupted counts all its parts.
    """

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file on rank 0."""
        super().on_train_end(trainer, pl_module)
        folder = trainer.log_dir  # asks all ranks
        if not folder or not trainer.is_global_zero:
            return
        device = pl_module.device
        content = {
            "seconds": round(self.time_elapsed(), 3),
            "epochs": trainer.current_epoch,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "devices": trainer.world_size,
        }
        with written(Path(folder) / "training.json") as path:
            path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


class Report(Callback):
    """Writes the report of an evaluation into the run's folder and prints the results."""

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the test clips."""
        self._report(trainer, "test")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the validation clips when they are what was asked for, not a part of training."""
        if trainer.state.fn == "validate":
            self._report(trainer, "val")

    def _report(self, trainer: Trainer, stage: str) -> None:
        folder = trainer.log_dir  # asks all ranks
        if not trainer.is_global_zero:
            return
        module, data = _parts(trainer)
        scores, zero_shot = module.scores[stage], module.scores.get("zero_shot")
        split = {"val": "validation", "test": "test"}[stage]
        if folder:
            head = {"split": split, "selection": data.selection, "benchmark": data.benchmark, "fold": data.fold}
            head["skipped"] = skipped_clips(trainer)
            sizes = {"trainable": sum(count for *_, count in trainable_parts(module)), "parameters": _count(module.net)}
            write_report(Path(folder), scores, head | sizes, zero_shot)
        print_scores(scores, split, zero_shot)
        if data.selection == "test":
            print(SELECTION["test"])


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
        if target := self._write(trainer, _parts(trainer)[1].predicted, truth=False):
            Console().print(f"{len(self._rows)} clips: {target}", highlight=False)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file beside the report."""
        self._write(trainer, _parts(trainer)[1].splits.test, truth=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file beside the report."""
        if trainer.state.fn == "validate":
            self._write(trainer, _parts(trainer)[1].splits.val, truth=True)

    def _keep(self, clips: Tensor, scores: Tensor, probabilities: Tensor) -> None:
        """Keep what was predicted: by the scores (B, C), of which rounded probabilities may be equal. Clip -1 is none."""
        rows = zip(scores.argmax(dim=-1).tolist(), probabilities.tolist(), strict=True)
        self._rows |= {clip: row for clip, row in zip(clips.tolist(), rows, strict=True) if clip >= 0}

    def _write(self, trainer: Trainer, clips: Manifest, truth: bool) -> Path | None:
        """Write the file on rank 0, in the order of the clips."""
        folder = trainer.log_dir  # asks all ranks
        if trainer.world_size > 1:
            shares: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(shares, self._rows)
            self._rows = {index: row for share in shares for index, row in share.items()}
        if not folder or not trainer.is_global_zero:
            return None
        labels = _parts(trainer)[0].net.labels
        columns = ["path", "label"] if truth else ["path"]
        target = Path(folder) / "predictions.csv"
        with written(target) as path, path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow([*columns, "predicted", *labels])
            for index, (predicted, probabilities) in sorted(self._rows.items()):
                clip = (clips.table[column].iat[index] for column in columns)
                rows.writerow([*clip, labels[predicted], *(f"{value:.6f}" for value in probabilities)])
        return target


def _parts(trainer: Trainer) -> tuple[PEClipModule, VideoDataModule]:
    module, data = trainer.lightning_module, trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(module, PEClipModule)
    assert isinstance(data, VideoDataModule)
    return module, data


def _count(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())
