"""Resume a run: apply changed options to the optimizer, and keep the report of an earlier end."""

from collections.abc import Collection
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from peclip.files import move
from peclip.results.evaluation import METRICS, PREDICTIONS
from peclip.results.training import TRAINING
from peclip.terminal import say
from peclip.train.callbacks.evaluation import module_and_data
from peclip.train.lr_scheduler import set_rates
from peclip.train.module import PEClipModule
from peclip.train.parameters import UNDECAYED
from peclip.train.runs.record import SCHEDULE

REPORT = (METRICS, "confusion.csv", "confusion.png", PREDICTIONS, TRAINING)
"""Files of the report at the end of a run."""


class Resumed(Callback):
    """Applies the options that a run resumes with; its checkpoint would restore the earlier ones.

    The learning rates follow the schedule of the new options from this step on, so that a later max_epochs stretches what is
    left of a cosine: a run that had ended at a rate of zero may continue with a high one. New runs get this callback too, as a
    no-op: other ranks cannot tell a new run from one that rank 0 has just created.

    Args:
        changed: names of the options that differ from those of the checkpoint.
        ended: whether a callback, such as EarlyStopping, had ended the training; it then trains no further.
    """

    def __init__(self, changed: Collection[str], ended: bool) -> None:
        self._changed, self._ended = set(changed), ended

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop a training that a callback such as EarlyStopping had ended: Lightning's checkpoints do not record that."""
        if self._ended:
            trainer.should_stop = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set rates and weight decay, and set the report of an earlier end of the run aside."""
        module, _ = module_and_data(trainer)
        if self._changed & SCHEDULE:
            self._set_rates(trainer, module)
        folder, step = trainer.log_dir, trainer.global_step  # a collective call: all ranks make it
        if folder and trainer.is_global_zero:
            _set_aside(Path(folder), step)

    def _set_rates(self, trainer: Trainer, module: PEClipModule) -> None:
        """Replace the rates and the weight decay of the checkpoint by those of the options; a custom scheduler keeps its rates."""
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        if "model.weight_decay" in self._changed:
            for group in groups:
                if group["name"] != UNDECAYED:
                    group["weight_decay"] = module.weight_decay
        if module.lr_scheduler is not None:
            return
        before = {group["name"]: group["lr"] for group in groups}
        # A finder may have chosen the rates before.
        kept = {group["name"]: group["initial_lr"] for group in groups}
        changed = {name for name in module.rates if f"model.lr_{name}" in self._changed}
        if "adapters" in changed and module.lr_temporal is None:
            changed.add("temporal")  # its rate is that of the adapters
        set_rates(trainer, kept | {name: module.rates[name] for name in changed})
        if trainer.is_global_zero:
            said = [f"{group['name']} {group['lr']:.3g} (was {before[group['name']]:.3g})" for group in groups]
            say(f"Learning rates from step {trainer.global_step} on: {', '.join(said)}")


def _set_aside(run: Path, step: int) -> None:
    """Move the report of a run that had ended at a step into ``ended_at_step_N``: the training that follows writes a new one."""
    if (run / METRICS).exists():
        aside = run / f"ended_at_step_{step}"
        aside.mkdir(exist_ok=True)
        for name in REPORT:
            if (run / name).exists():
                move(run / name, aside / name)
