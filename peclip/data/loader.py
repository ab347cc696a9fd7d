"""Loaders of batches: when their workers begin to read, and what Lightning may know of them."""

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, cast
from weakref import ref

from torch.utils.data import DataLoader

from peclip.data.batch import Batch
from peclip.data.dataset import ClipDataset
from peclip.data.forking import main_module_hidden, start_server
from peclip.data.samplers import TrainSampler
from peclip.data.waiting import Watched
from peclip.errors import InputError


class LateLoader(DataLoader[Batch]):
    """DataLoader that calls its sampler lazily: when the first batch is requested or :meth:`read_ahead` is called.

    Lightning makes the iterator of a resumed run before it sets the epoch, and workers would read the clips of epoch 0.

    Attributes:
        at_first: function that is called when an iteration is asked for its first batch; None for none.
    """

    at_first: Callable[[], None] | None = None
    _latest: Watched[Batch] | None = None
    _ahead: Watched[Batch] | None = None
    _is_iterated = False
    _turn = Lock()

    def read_ahead(self, epoch: int | None = None) -> None:
        """Let the workers begin with the next iteration now; does nothing if there are none, or they are in one already.

        Args:
            epoch: epoch of that iteration, if a :class:`~peclip.data.samplers.TrainSampler` chooses its clips.
        """
        with self._turn:
            if self.num_workers and self._ahead is None and not self._is_iterated:
                if epoch is not None:
                    cast(TrainSampler, self.batch_sampler).set_epoch(epoch)
                self._ahead = self._watch()

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # only a DataLoader's iterator knows workers
        """Yield the batches; what ends the waiting for workers is in :mod:`peclip.data.waiting`.

        Raises:
            InputError: the system does not let workers start.
        """
        if self.at_first is not None:
            self.at_first()
        if not self.num_workers:
            yield from self._start()
            return
        with self._turn:
            batches, self._ahead = self._ahead or self._watch(), None
            self._is_iterated = True
        try:
            for number, batch in enumerate(batches, 1):
                self._is_iterated = number < len(self)  # Lightning does not ask for the end after the last batch
                yield batch
        except Exception:  # any error is passed to the caller, which asks for no further batch
            self.close()
            raise
        finally:
            batches.end()
            self._is_iterated &= batches is not self._latest

    def close(self) -> None:
        """End the worker processes.

        The garbage collector would end them some time later, and would wait five seconds for each: it takes the circles of
        objects around a trainer apart in any order, and may close the queues by which the processes are asked to end.
        """
        with self._turn:
            latest, self._latest, self._ahead, self._iterator = self._latest, None, None, None
            self._is_iterated = False
        if latest is not None:
            latest.close()
            self._iterator = None  # the iterator of workers that were just starting

    def _watch(self) -> Watched[Batch]:
        start_server()  # a fork of the main process has none
        self._latest = Watched(self._start, cast(ClipDataset, self.dataset).at_work, self._latest)
        return self._latest

    def _start(self) -> Iterator[Batch]:
        """Start the workers, or wake up those of the epoch before."""
        with main_module_hidden(), _start_errors():
            return super().__iter__()


@contextmanager
def _start_errors() -> Iterator[None]:
    """Convert errors at worker start-up to one line, and suppress PyTorch's traceback about the partly built iterator."""
    try:
        yield
    except OSError as error:
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        try:
            traceback.clear_frames(error.__traceback__)
        finally:
            sys.unraisablehook = hook
        raise InputError(
            f"the processes that read clips cannot be started ({error.strerror or error}): set num_workers 0; too few open "
            "files are raised with ulimit -n, a full /dev/shm with docker run --shm-size 1g",
            "num_workers",
        ) from error


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
        """Register the training loader, which has a :class:`~peclip.data.samplers.TrainSampler`, and return it."""
        self._training = ref(loader)
        return loader

    def validation(self, loader: LateLoader) -> LateLoader:
        """Register the loader of the validations, and return it."""
        self._validation, loader.at_first = ref(loader), self.read_training
        return loader

    def done(self, epoch: int) -> int:
        """Return how many batches of an epoch are trained on: above 0 if a run resumes in mid-epoch."""
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


class PredictLoader:
    """The batches of a loader, hidden from Lightning, which keeps the indices of all clips that a DataLoader predicts."""

    def __init__(self, loader: DataLoader[Batch]) -> None:
        self.loader = loader

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches; no more are read ahead than the workers hold."""
        return iter(self.loader)


def _nothing() -> LateLoader | None:
    return None
