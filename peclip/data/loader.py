"""Loaders of batches, and what Lightning may know of them."""

from collections.abc import Iterator

from torch.utils.data import DataLoader

from peclip.data.batch import Batch
from peclip.data.forking import main_module_hidden, start_server


class LateLoader(DataLoader[Batch]):
    """A loader that asks its sampler at the first batch, not before.

    Lightning makes the iterator of a resumed run before it sets the epoch, and workers would read the clips of epoch 0.
    """

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # only a DataLoader's iterator knows workers
        """Yield the batches."""
        if self.num_workers:
            start_server()  # which a fork of the main process has not
        with main_module_hidden():
            batches = super().__iter__()
        yield from batches


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
