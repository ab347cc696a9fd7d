"""Write checkpoints in a thread, each complete or not at all."""

import io
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Trainer

from peclip.errors import InputError
from peclip.files import file_errors, write_bytes

LAST, NEXT = "last.ckpt", ".next.ckpt"
"""File names of the checkpoint from which a run resumes, and of the one that will take its place."""

IN_MEMORY = 2
"""Maximum number of copies of checkpoints that wait to be written: an epoch ends with the best one and the last one."""

ADVICE = "; the checkpoints before it are as they were. Free some space, then resume with --ckpt_path last"


class SyncedIO(TorchCheckpointIO):
    """Writes a checkpoint under a temporary name, syncs it to disk and renames it, so that it is complete or absent.

    A thread writes and removes files in the order of the requests. Within :meth:`in_background` nothing waits for it: a
    checkpoint is copied on its device, and steps continue while the thread moves the copy to the host and writes it. On a GPU the
    copy is queued behind the step, and the host does not wait for it. After an error the thread stops, so that no file
    is removed in favour of one that could not be written. A process that is spawned starts its own thread.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._writes = deque[Future[None]]()
        self._latest: Future[None] | None = None
        self._error: BaseException | None = None
        self._waits = True

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()

    @property
    def is_done(self) -> bool:
        """Return whether :meth:`finish` would not wait."""
        return self._latest is None or self._latest.done()

    @contextmanager
    def in_background(self) -> Iterator[None]:
        """Let files be written and removed later: by :meth:`finish` at the latest."""
        self._waits, before = False, self._waits
        try:
            yield
        finally:
            self._waits = before

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Raises:
            InputError: this checkpoint, or an earlier one, cannot be written, for example for lack of space; existing checkpoints are kept.
        """
        if len(self._writes) == IN_MEMORY:
            wait([self._writes.popleft()])
        kept = checkpoint if self._waits else deepcopy(checkpoint)  # the next step changes weights in place
        self._writes.append(self._ask(partial(_write, Path(path), kept)))

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint once those that were saved before are on disk."""
        self._ask(partial(_remove, super().remove_checkpoint, path))

    def load_checkpoint(self, path: Any, *args: Any, **options: Any) -> dict[str, Any]:
        """Return the content of a file, which may be one that is still to be written."""
        self.finish()
        return super().load_checkpoint(path, *args, **options)

    def finish(self) -> None:
        """Wait until all files are written or removed.

        Raises:
            InputError: as :meth:`save_checkpoint`.
        """
        if self._latest is not None:
            wait([self._latest])
        if self._error is not None:
            raise self._error

    def teardown(self) -> None:
        """Wait for all files; Lightning calls it when a training or an evaluation has ended."""
        self.finish()

    def _ask(self, act: Callable[[], None]) -> Future[None]:
        if self._error is not None:
            raise self._error
        self._latest = asked = self._thread.submit(self._try, act)
        if self._waits:
            self.finish()
        return asked

    def _try(self, act: Callable[[], None]) -> None:
        if self._error is None:
            try:
                act()
            except BaseException as error:  # noqa: BLE001 - it is raised by the thread that waits
                self._error = error


def _write(target: Path, checkpoint: dict[str, Any]) -> None:
    content = io.BytesIO()
    torch.save(checkpoint, content)
    try:
        with content.getbuffer() as data:  # released with an error too: Python 3.13 complains about what is kept of it
            write_bytes(target, data, ADVICE)
    except InputError as error:
        raise InputError(str(error).replace(NEXT, LAST)) from error


def _remove(remove: Callable[[Any], None], path: Any) -> None:
    with file_errors():
        remove(path)


def in_background(trainer: Trainer) -> AbstractContextManager[None]:
    """Return a context in which checkpoints are written while the training continues, unless a logger uploads them."""
    files = trainer.strategy.checkpoint_io
    is_read = any(getattr(logger, "_log_model", False) for logger in trainer.loggers)
    return files.in_background() if isinstance(files, SyncedIO) and not is_read else nullcontext()
