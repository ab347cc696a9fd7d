"""Callbacks that show a run: a summary before it, progress, and one line per epoch."""

import time
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from rich.table import Table

from peclip.console import PlainConsole
from peclip.data.batch import Batch
from peclip.data.datamodule import VideoDataModule
from peclip.errors import counted
from peclip.model.naming import method_name
from peclip.results.formatting import giga
from peclip.results.selection import selection_note
from peclip.terminal import say
from peclip.train.callbacks.evaluation import module_and_data, selection_of
from peclip.train.class_weights import as_sentence
from peclip.train.parameters import trainable_parts
from peclip.train.runs.checkpoints import best_checkpoint


class StartSummary(Callback):
    """Prints the trainable parts, their sizes and the data before training."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the table of trainable parts and a line about the clips, on rank 0."""
        if not trainer.is_global_zero:
            return
        net, data = module_and_data(trainer)
        total = sum(weight.numel() for weight in net.net.parameters())
        title = f"{method_name(net.net.config)} on {net.net.backbone.name}, frozen"
        table = Table(title=title, title_justify="left", show_footer=True)
        rows = [(_name_of(part), where, blocks, size) for part, where, blocks, size in trainable_parts(net.net)]
        trainable = sum(size for *_, size in rows)
        table.add_column("trainable part", "all")
        table.add_column("where", f"of {total:,} parameters")
        table.add_column("blocks", "", justify="right")
        table.add_column("parameters", f"{trainable:,}", justify="right")
        table.add_column("share", f"{trainable / total:.2%}", justify="right")
        for name, where, blocks, size in rows:
            table.add_row(name, where, str(blocks), f"{size:,}", f"{size / total:.2%}")
        PlainConsole().print(table)
        splits = data.splits
        say(
            f"{len(splits.train)} training, {len(splits.val)} validation, {counted(len(splits.test), 'test clip')} of "
            f"{counted(len(data.labels), 'class')} from {data.source.source}; {counted(data.clip_format.num_frames, 'frame')} a clip, "
            f"{net.image_size} px, batch {data.batch_size}, precision {trainer.precision}, seed {data.seed}"
        )
        if net.flops:
            say(
                f"A clip takes {giga(net.flops)} GFLOPs in the vision tower; the class texts are encoded once for all clips."
            )
        if data.mix.mixup + data.mix.fmix > 0:
            say("train/war is approximate: a mixed clip counts by the label with the larger share.")
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            say("fast_dev_run: a dry run of a few batches, in one epoch; nothing is saved")
        if net.class_weights is not None:
            say(as_sentence(net.loss, net.net.labels))
        for note in (*data.source.notes, *splits.notes):
            say(note)
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            say(_what_is_evaluated(trainer, data))


def _what_is_evaluated(trainer: Trainer, data: VideoDataModule) -> str:
    """Return a line that names the weights that are evaluated at the end of a training, or says that none are."""
    splits, is_kept = data.splits, best_checkpoint(trainer) is not None
    limit = "limit_test_batches" if len(splits.test) else "limit_val_batches"
    if len(splits.test or splits.val) and getattr(trainer, limit) == 0:
        later = "peclip test does it later" if is_kept else "and no checkpoint is kept"
        return f"trainer.{limit} is 0, so nothing is evaluated at the end{':' if is_kept else ','} {later}"
    if not is_kept:
        return "No checkpoint is kept: the results are those of the last weights."
    return selection_note(selection_of(trainer, data), "test" if len(splits.test) else "validation")


def _name_of(part: object) -> str:
    """Return the class of a part. PEFT names its classes Linear in all methods, so its method is added."""
    package, name = type(part).__module__.split("."), type(part).__name__
    return f"{package[-2]}.{name}" if package[0] == "peft" else name


class Progress(RichProgressBar):
    """Rich's progress bar with scores and the clips/s of this device.

    The bar is drawn at every batch. Scores stay on the device and are read only when they are new, so that no batch waits for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._since, self._clips = 0.0, 0
        self._scores: dict[str, str] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the rate, because an epoch that is resumed midway has no start."""
        super().on_train_start(trainer, pl_module)
        self._since = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the rate of clips for the new epoch."""
        self._read_scores(trainer)  # scores of an epoch that ended before its last batch are logged after its end
        super().on_train_epoch_start(trainer, pl_module)
        self._since, self._clips = time.perf_counter(), 0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the scores of the epoch."""
        self._read_scores(trainer)
        super().on_train_epoch_end(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the scores of the validation."""
        self._read_scores(trainer)
        super().on_validation_end(trainer, pl_module)

    def _read_scores(self, trainer: Trainer) -> None:
        found = _shown(trainer, ("val/war", "val/uar"))
        self._scores = {name: f"{value:.3f}" for name, value in found.items()}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the clips of a batch."""
        self._clips += len(batch.draws)
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return the values beside the bar: losses, scores and clips/s."""
        metrics: dict[str, Any] = {
            name: value for name, value in trainer.progress_bar_metrics.items() if name != "v_num"
        }
        metrics |= self._scores
        if self._clips:
            metrics["clips/s"] = f"{self._clips / (time.perf_counter() - self._since):.1f}"
        return metrics


class EpochLines(Callback):
    """Prints one line per epoch where the output is not a terminal, such as the log of a cluster job."""

    def __init__(self) -> None:
        self._start = self._epoch_start = 0.0
        self._first_step = self._clips = 0
        self._validated = False
        self._unprinted = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start both clocks, because an epoch that is resumed midway has no start."""
        self._start = self._epoch_start = time.perf_counter()
        self._first_step = trainer.global_step

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restart the clock of the epoch."""
        self._epoch_start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the clips of a batch."""
        self._clips += len(batch.draws) * trainer.world_size

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that this epoch has new validation scores."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line of the epoch, unless it ended before its last batch: its scores are then logged after this hook."""
        self._unprinted = trainer.current_epoch + 1
        if trainer.is_last_batch:
            self._print(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line of a last epoch that has ended before its last batch."""
        if self._unprinted:
            self._print(trainer)

    def _print(self, trainer: Trainer) -> None:
        """Print loss, scores, rate and remaining time of the epoch, on rank 0."""
        (done, self._unprinted), epochs = (self._unprinted, 0), trainer.max_epochs or -1
        now, step = time.perf_counter(), trainer.global_step
        values = _shown(trainer, ("val/loss", "val/war", "val/uar") if self._validated else ())
        said = [" ".join(f"{name} {value:.3f}" for name, value in values.items())]
        if self._clips:
            rate = self._clips / (now - self._epoch_start)
            said.append(f"{rate:.1f} clips/s{' with validation' if self._validated else ''}")
        if epochs > 0 and trainer.is_last_batch and step > self._first_step:  # the steps before were not timed
            each_epoch = (now - self._start) * step / (step - self._first_step) / done
            said.append(f"{each_epoch * (epochs - done):.0f} s left")
        self._clips, self._validated = 0, False
        if trainer.is_global_zero:
            say(f"epoch {done}{f'/{epochs}' if epochs > 0 else ''}: {', '.join(filter(None, said))}")


def _shown(trainer: Trainer, evaluation: Sequence[str]) -> dict[str, float]:
    """Return the results of an epoch by name: loss and WAR over its training clips, and the given evaluation scores."""
    names = {"train/loss": "train/loss_epoch", "train/war": "train/war"} | {name: name for name in evaluation}
    found = trainer.callback_metrics
    return {name: float(found[source]) for name, source in names.items() if source in found}
