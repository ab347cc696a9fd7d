"""Reading many clips part by part, with nothing kept of what has been read."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader, Sampler

from peclip.data.order import Draw


class PartOrder(Sampler[list[Draw]]):
    """The clips of parts in batches of which none reaches from one part into the next.

    So the batch in which a clip is read depends on its part alone, not on the rank or on what other parts are left to do.

    Args:
        parts: the clips of each part.
        batch_size: clips of a batch; the last one of a part may have fewer.
    """

    def __init__(self, parts: Sequence[range], batch_size: int) -> None:
        self.parts, self.batch_size = parts, batch_size

    def __len__(self) -> int:
        """Return the number of batches."""
        return sum(len(part[:: self.batch_size]) for part in self.parts)

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yield the batches, part after part."""
        for part in self.parts:
            for start in range(0, len(part), self.batch_size):
                yield [Draw(0, 0, clip) for clip in part[start : start + self.batch_size]]


class Stream:
    """The batches of a loader that Lightning does not know as one: of a loader it keeps all indices that it predicts."""

    def __init__(self, loader: DataLoader[dict[str, Any]]) -> None:
        self.loader = loader

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.loader)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the batches; no more are read ahead than the workers hold."""
        return iter(self.loader)
