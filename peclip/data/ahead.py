"""The order in which worker processes read the clips of a training: those of a validation, then those of the next epoch."""

from typing import Any

from peclip.data.loader import LateLoader


class Ahead:
    """The two loaders of a training. Each begins to read while the last clips of the other one are computed.

    Args:
        owner: the data module, whose trainer knows how far the training is.

    Attributes:
        training: its loader, with a :class:`~peclip.data.samplers.TrainSampler`; None before there is one.
        validation: its loader; None where there are no validation clips.
    """

    def __init__(self, owner: Any) -> None:
        self._owner = owner
        self.training: LateLoader | None = None
        self.validation: LateLoader | None = None

    def done(self, epoch: int) -> int:
        """Return how many batches of an epoch are trained on: above 0 where a run resumes in mid-epoch."""
        trainer = self._owner.trainer
        is_now = trainer is not None and trainer.training and trainer.current_epoch == epoch
        return trainer.fit_loop.epoch_loop.batch_progress.current.ready if is_now else 0

    def read_validation(self) -> None:
        """Begin with the clips of the next validation: those of the epoch have all been asked for."""
        if self.validation is not None:
            self.validation.read_ahead()

    def read_training(self) -> None:
        """Begin with the clips of the next epoch, if there is one: a validation begins, and needs its processes alone."""
        trainer = self._owner.trainer
        if self.training is None or trainer is None or trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        following = trainer.current_epoch + 1
        if trainer.fit_loop.max_epochs in (-1, None) or following < trainer.fit_loop.max_epochs:
            self.training.read_ahead(following)
