"""Write the checkpoints of a run safely: ``last.ckpt``, from which it resumes, the one before it, and the best."""

import io
import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from peclip.errors import InputError
from peclip.files import atomic_write

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"

ADVICE = "; the checkpoints before it are as they were. Free some space, then resume with --ckpt_path last"


class SyncedIO(TorchCheckpointIO):
    """Writes a checkpoint under a temporary name, syncs it to disk and renames it, so that it is complete or absent."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint; keep the ``last.ckpt`` before it as ``previous.ckpt``.

        Raises:
            InputError: it cannot be written, for example for lack of space; existing checkpoints are kept.
        """
        content, target = io.BytesIO(), Path(path)
        torch.save(checkpoint, content)
        with atomic_write(target, advice=ADVICE) as temporary:
            temporary.write_bytes(content.getbuffer())
            if target.name == LAST and target.exists():
                target.replace(target.with_name(PREVIOUS))


class BestCheckpoint(ModelCheckpoint):
    """ModelCheckpoint that re-roots saved paths when the run folder has moved."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of an interrupted run; without its best checkpoint, selection starts again."""

        def moved(path: str) -> str:
            # Exactly as Lightning joins it: a best checkpoint under another path would be removed for the next one.
            return os.path.join(str(self.dirpath), Path(path).name) if path else path

        known = {moved(path): score for path, score in state_dict["best_k_models"].items()}
        if not state_dict["best_model_path"] or not Path(moved(state_dict["best_model_path"])).exists():
            return
        paths = {
            name: moved(state_dict[name]) for name in ("best_model_path", "kth_best_model_path", "last_model_path")
        }
        super().load_state_dict({**state_dict, **paths, "best_k_models": known, "dirpath": self.dirpath})


class LastCheckpoint(Checkpoint):
    """Writes ``checkpoints/last.ckpt``, from which an interrupted run resumes, and keeps the one before as ``previous.ckpt``.

    It is written after every epoch, every few steps within an epoch, and when the training is stopped on request.

    Args:
        every_n_steps: optimizer steps between two checkpoints within an epoch; 0 writes only after epochs.

    Raises:
        InputError: the number is below 0.
    """

    def __init__(self, every_n_steps: int = 1000) -> None:
        if every_n_steps < 0:
            raise InputError(f"every_n_steps is {every_n_steps}, expected 0 or more", "every_n_steps")
        self.every_n_steps = every_n_steps
        self.folder = Path()
        self._saved = 0
        self._order: dict[str, int] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Create the folder of checkpoints, which identifies a run, and remove incomplete files."""
        if stage == "fit" and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self.folder = Path(trainer.log_dir or trainer.default_root_dir) / "checkpoints"
            if trainer.is_global_zero:
                self.folder.mkdir(parents=True, exist_ok=True)
                for torn in self.folder.glob(".*.ckpt"):  # a run was killed while it wrote
                    torn.unlink()

    def state_dict(self) -> dict[str, Any]:
        """Return the settings that must stay the same to resume within an epoch."""
        return {"order": self._order}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the settings of the interrupted run that must stay the same to resume within an epoch."""
        self._order = state_dict["order"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that an epoch can be resumed midway.

        Raises:
            InputError: the batches would be others than before.
        """
        self._saved = trainer.global_step
        data = trainer.datamodule  # type: ignore[attr-defined]
        order = {
            "data.batch_size times devices": data.batch_size * trainer.world_size,
            "trainer.accumulate_grad_batches": trainer.accumulate_grad_batches,
            "seed_everything": data.seed,
            "number of training clips": len(data.splits.train),
        }
        if trainer.fit_loop.restarted_mid_epoch:
            for name, before in self._order.items():
                if before != order[name]:
                    raise InputError(
                        f"the run was interrupted within an epoch with the {name} {before}, which is {order[name]} now: "
                        "resume with the same"
                    )
        self._order = order

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save every ``every_n_steps`` steps, except after the last batch: the epoch has its own checkpoint."""
        step, last = trainer.global_step, trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if self.every_n_steps and step % self.every_n_steps == 0 and step != self._saved and not last:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after every epoch."""
        self._save(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save when the training is stopped on request, unless gradients are being accumulated."""
        batches = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        whole = batches % trainer.accumulate_grad_batches == 0
        if (
            isinstance(exception, SIGTERMException)
            and trainer.training
            and whole
            and trainer.global_step != self._saved
        ):
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        for logger in trainer.loggers:
            logger.save()  # metrics of the steps before a checkpoint are not logged again
        trainer.save_checkpoint(self.folder / LAST)
        self._saved = trainer.global_step
