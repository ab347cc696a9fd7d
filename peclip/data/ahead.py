"""The order in which worker processes read the clips of a training: those of a validation, then those of the next epoch."""

from collections.abc import Callable
from typing import Any
from weakref import ref

from peclip.data.loader import LateLoader


def _nothing() -> LateLoader | None:
    return None


class Ahead:
    """The two loaders of a training. Each begins to read while the last clips of the other one are computed.

    They are not kept alive. In a circle of references, the garbage collector closes a loader's queues before the loader can
    tell its processes to end, and it waits five seconds for each of them.

    Args:
        owner: the data module, whose trainer knows how far the training is.
    """

    def __init__(self, owner: Any) -> None:
        self._owner = owner
        self._training: Callable[[], LateLoader | None] = _nothing
        self._validation: Callable[[], LateLoader | None] = _nothing

    def training(self, loader: LateLoader) -> LateLoader:
        """Return the loader of a training, with a :class:`~peclip.data.samplers.TrainSampler`, once it is known here."""
        self._training = ref(loader)
        return loader

    def validation(self, loader: LateLoader) -> LateLoader:
        """Return the loader of its validations, once it is known here."""
        self._validation, loader.at_first = ref(loader), self.read_training
        return loader

    def done(self, epoch: int) -> int:
        """Return how many batches of an epoch are trained on: above 0 where a run resumes in mid-epoch."""
        trainer = self._owner.trainer
        is_now = trainer is not None and trainer.training and trainer.current_epoch == epoch
        return trainer.fit_loop.epoch_loop.batch_progress.current.ready if is_now else 0

    def read_validation(self) -> None:
        """Begin with the clips of the next validation: those of the epoch have all been asked for."""
        if (loader := self._validation()) is not None:
            loader.read_ahead()

    def read_training(self) -> None:
        """Begin with the clips of the next epoch, if there is one: a validation begins, and needs its processes alone."""
        trainer = self._owner.trainer
        loader = self._training()
        if loader is None or trainer is None or trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        following = trainer.current_epoch + 1
        if trainer.fit_loop.max_epochs in (-1, None) or following < trainer.fit_loop.max_epochs:
            loader.read_ahead(following)
