"""Parts that the callbacks share: one hook for every evaluated batch, and functions that say what is evaluated."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from peclip.data.batch import Batch
from peclip.data.datamodule import VideoDataModule
from peclip.data.manifest import Manifest
from peclip.results.selection import Selection
from peclip.train.evaluation import Outputs
from peclip.train.module import PEClipModule
from peclip.train.runs.checkpoints import best_checkpoint


class EvaluationCallback(Callback):
    """A callback with one hook for the batches of validation, test and prediction, in place of Lightning's three."""

    def on_evaluated(self, trainer: Trainer, outputs: Outputs, batch: Batch) -> None:
        """Process an evaluated batch.

        Args:
            trainer: trainer of the run.
            outputs: outputs of the model for the batch.
            batch: input of the model.
        """

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Call :meth:`on_evaluated`."""
        self.on_evaluated(trainer, outputs, batch)

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end


def module_and_data(trainer: Trainer) -> tuple[PEClipModule, VideoDataModule]:
    """Return the module and the data of a run."""
    module, data = trainer.lightning_module, trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(module, PEClipModule)
    assert isinstance(data, VideoDataModule)
    return module, data


def evaluated_clips(trainer: Trainer) -> Manifest:
    """Return the clips that a trainer evaluates or predicts; during a training, those of its validation."""
    data = module_and_data(trainer)[1]
    return data.predicted if trainer.predicting else data.splits.test if trainer.testing else data.splits.val


def selection_of(trainer: Trainer, data: VideoDataModule, is_over: bool = False) -> Selection:
    """Return the clips by whose scores a training chooses its best checkpoint; ``none`` if it does not validate.

    Args:
        trainer: trainer of the training.
        data: data of the training.
        is_over: whether the training has ended, possibly before its first validation.
    """
    best = best_checkpoint(trainer)
    monitors = best and (best.monitor or "").startswith("val/") and best.save_top_k != 0
    chooses = best and monitors and (best.best_model_path or not is_over)
    return data.selection if chooses else "none"


def is_logged(trainer: Trainer, steps: int) -> bool:
    """Return whether a training logs after this number of steps."""
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # its logger connector sets it
    return every > 0 and steps % every == 0
