"""The temporary folder of a server: what visitors upload, and what they may download, under names that nobody can guess.

It is deleted when the server ends.
"""

import asyncio
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peclip.errors import InputError

KEPT = 3600.0
"""Seconds after their last use after which uploads and results are deleted."""

HELD = 86_400.0
"""Additional seconds for an upload that waits for its turn and for its answer; without a limit, a call that nobody reads would keep it."""

UNUSED = 60.0
"""Seconds after which an upload that no call waits for is deleted if another one needs its place."""

_EVERY = 60  # seconds from one look for what is too old to the next

_LONGEST_NAME = 80
_TOKEN = re.compile(r"[\w-]{22}")


class Store:
    """Folders named by random tokens, below one folder; visitors name a file by ``token/name``.

    Args:
        folder: exists, is empty, and is deleted by the caller.
        most: number of uploads that may wait.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self._most = folder, most
        self._used: dict[str, float] = {}
        self._uploads: set[str] = set()
        self._kept: set[str] = set()
        self._lock = threading.Lock()

    def new(self, *, is_upload: bool = False, is_kept: bool = False) -> str:
        """Make a folder and return its token.

        Args:
            is_upload: it counts among those that wait, and is held until it is complete and released.
            is_kept: it is never too old.

        Raises:
            InputError: too many uploads wait.
        """
        self.sweep()
        if is_upload and len(self._uploads) >= self._most:
            self._delete_unused()
        token = secrets.token_urlsafe(16)
        with self._lock:
            if is_upload and len(self._uploads) >= self._most:
                raise InputError("too many uploads are waiting: try again in a minute")
            self._used[token] = time.monotonic() + (HELD if is_upload else 0)
            if is_upload:
                self._uploads.add(token)
            if is_kept:
                self._kept.add(token)
        self.place(token).mkdir()
        return token

    def place(self, token: str) -> Path:
        """Return the folder of a token."""
        return self.folder / token

    def find(self, name: str) -> Path | None:
        """Return the path of the file that a visitor or program names; None if there is no such file."""
        token, _, file = name.partition("/")
        if not _TOKEN.fullmatch(token) or file != clean_name(file) or token not in self._used:
            return None
        path = self.place(token) / file
        if not path.is_file():
            return None
        self._use(token, time.monotonic())
        return path

    def find_video(self, name: str) -> Path | None:
        """Return the path of the upload or the example that a visitor or program names; None if there is no such file."""
        token = name.partition("/")[0]
        return self.find(name) if token in self._uploads or token in self._kept else None

    def has(self, token: str) -> bool:
        """Return whether there is a folder with this token."""
        return token in self._used

    def upload_of(self, name: str) -> str | None:
        """Return the token of the upload that a visitor or program names; None if there is no such upload."""
        token = name.partition("/")[0]
        return token if token in self._uploads else None

    def hold(self, token: str) -> None:
        """Keep the folder of a token from expiring while it waits for its turn, or its answer is computed."""
        self._use(token, time.monotonic() + HELD)

    def release(self, token: str) -> None:
        """Let the folder of a token expire, counted from now."""
        with self._lock:
            if token in self._used:
                self._used[token] = time.monotonic()

    def _use(self, token: str, until: float) -> None:
        with self._lock:
            if token in self._used:
                self._used[token] = max(until, self._used[token])

    def without_place(self, text: str) -> str:
        """Return a text for a visitor, in which the paths of files are replaced by their names."""
        return re.sub(rf"{re.escape(str(self.folder))}(/[^\s/:]+)*/", "", text)

    def delete(self, token: str) -> None:
        """Delete the folder of a token, unless it is always kept or does not exist."""
        with self._lock:
            if token in self._kept or self._used.pop(token, None) is None:
                return
            self._uploads.discard(token)
        shutil.rmtree(self.place(token), ignore_errors=True)

    def _delete_unused(self) -> None:
        """Delete the upload that has been unused for the longest time, if that is long enough."""
        with self._lock:
            oldest = min(self._uploads, key=lambda token: self._used[token], default=None)
            if oldest is None or time.monotonic() - self._used[oldest] < UNUSED:
                return
        self.delete(oldest)

    async def keep_swept(self) -> None:
        """Delete what is too old, for as long as the server runs, whether anybody comes or not."""
        while True:
            self.sweep()
            await asyncio.sleep(_EVERY)

    def sweep(self) -> None:
        """Delete the folders that are too old."""
        now = time.monotonic()
        for token in [token for token, used in [*self._used.items()] if now - used > KEPT]:
            self.delete(token)


def clean_name(name: str) -> str:
    """Return a visitor's file name without folders, and without characters that have a meaning in a path, a link or a page."""
    last = re.sub(r"[^\w.-]+", "_", re.split(r"[/\\]", name)[-1]).strip("._")
    return last[-_LONGEST_NAME:].lstrip("._") or "video"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Create the folder, and delete it at the end.

    When Gradio is imported, it creates its folder at the path that GRADIO_TEMP_DIR has then, which is below this one: import it
    afterwards.

    Raises:
        InputError: it cannot be made.
    """
    try:
        made = tempfile.TemporaryDirectory(prefix="peclip-serve-", ignore_cleanup_errors=True)
    except OSError as error:
        raise InputError(
            f"no folder for uploads can be created ({error.strerror}): set TMPDIR to a folder with free space"
        ) from error
    with made as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(Path(folder) / "gradio")
        yield Path(folder)
