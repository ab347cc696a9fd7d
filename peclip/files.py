"""Files of every room: one way to write and to open them, one lock, one natural order of names, one list of media suffixes."""

import errno
import fcntl
import json
import os
import re
import resource
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Literal

from peclip.errors import InputError

VIDEO_SUFFIXES = frozenset(
    {
        *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".flv", ".wmv"),
        *(".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".3gp", ".3g2", ".ogv", ".gif"),
        *(".vob", ".f4v", ".asf", ".mxf", ".m2v"),
    }
)
"""Suffixes of video files, in lower case."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
"""Suffixes of frames, in lower case."""

FORMULA = tuple("=+-@\t\r＝＋－＠")  # noqa: RUF001 - spreadsheets of East Asia accept wide signs
"""Letters with which a cell begins that a spreadsheet computes."""

LOCK = ".lock"
"""File in a locked folder."""


@contextmanager
def atomic_write(path: Path, advice: str = "") -> Iterator[Path]:
    """Yield a temporary path to write to; on success sync it to disk and move it to ``path``.

    Even if the process is killed, ``path`` contains either the old content or the complete new one. Missing folders are created.

    Args:
        path: the file.
        advice: end of the error message, such as what the user can do; begins with its own punctuation.

    Raises:
        InputError: the file cannot be written; its previous content is kept.
    """
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        move(temporary, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}{advice}") from error
    finally:
        with suppress(OSError):  # its folder may turn out to be a file
            temporary.unlink(missing_ok=True)


def move(path: Path, target: Path) -> None:
    """Rename a file or folder, replacing the target; after a crash exactly one of the names exists."""
    path.replace(target)
    _sync(target.parent)


def write_bytes(path: Path, content: bytes | memoryview, advice: str = "") -> None:
    """Write a file as a whole; see :func:`atomic_write`."""
    with atomic_write(path, advice) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a text file, UTF-8, as a whole; see :func:`atomic_write`."""
    write_bytes(path, text.encode())


def write_new_text(path: Path, text: str) -> None:
    """Write a text file as a whole, as :func:`write_text`, unless it exists: of processes that try at once, one succeeds.

    Raises:
        InputError: it cannot be written.
        FileExistsError: it exists.
    """
    with _new_file(path) as temporary:
        write_text(temporary, text)


def copy_new(source: Path, path: Path) -> None:
    """Copy a file as a whole, unless there is one at the path: of processes that try at once, one succeeds.

    Raises:
        InputError: it cannot be read or written.
        FileExistsError: there is one.
    """
    with (
        _new_file(path) as temporary,
        file_errors(),
        open_regular(source) as file,
        atomic_write(temporary) as copy,
        copy.open("wb") as target,
    ):
        shutil.copyfileobj(file, target)


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write a file to as a whole; then give it its name, unless another file has that.

    Raises:
        FileExistsError: there is one.
    """
    if path.exists():
        raise FileExistsError(path)
    temporary = temporary_name(path)
    try:
        yield temporary
        _rename_new(temporary, path)
    finally:
        with suppress(OSError):  # the first error says more about a place that cannot be written to
            temporary.unlink()


def _rename_new(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if path.exists():
            raise FileExistsError(path) from None
        move(temporary, path)


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON as a whole; see :func:`atomic_write`."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be written to, or made, before anything is computed for it.

    Raises:
        InputError: it is such a folder.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"{folder} cannot be written: {there} is a file, expected a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{folder} cannot be written: {os.strerror(errno.EACCES)}")


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a new temporary folder to fill; on success sync its files and move it to ``folder``.

    Args:
        folder: must be absent or empty.

    Raises:
        InputError: the folder cannot be written.
    """
    folder = folder.absolute()  # "." has no name
    temporary = temporary_name(folder)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        move_folder(temporary, folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def move_folder(folder: Path, target: Path) -> None:
    """Sync the files of a folder to disk and rename it, so that ``target``, absent or empty before, is then complete."""
    for path in (*folder.rglob("*"), folder):
        _sync(path)
    move(folder, target)


@contextmanager
def locked(folder: Path, busy: str) -> Iterator[None]:
    """Keep a folder to this process while the context lasts.

    The lock belongs to the process, not to its children: it ends with the process, however that ends.

    Args:
        folder: must exist.
        busy: the message where another process holds the lock.

    Raises:
        InputError: another process holds the lock, or the folder cannot be written to.
    """
    path = folder / LOCK
    with file_errors(), _acquired(path, busy):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def file_errors() -> Iterator[None]:
    """Turn what the system says of a file (no space, no permission) into an :class:`InputError` that names it."""
    try:
        yield
    except OSError as error:
        if error.strerror is None:
            raise
        if error.errno == errno.EMFILE:
            raise too_many_open_files() from error
        raise InputError(f"{error.filename or 'a file of the run'}: {error.strerror}") from error


def too_many_open_files() -> InputError:
    """Return an error that names the limit of open files."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return InputError(f"too many open files: the limit is {limit}; raise it (ulimit -n 4096), or set fewer workers")


def check_regular(path: Path | str) -> None:
    """Refuse a path that leads to something else than a file or nothing, before a library opens it.

    Raises:
        InputError: it is a folder, or a pipe or a device, on which reading could wait or continue for ever.
    """
    with suppress(OSError):  # there is none, or its name is too long for one
        _refuse_irregular(path, os.stat(path).st_mode)


def open_regular(path: Path | str) -> BufferedReader:
    """Open a file for reading. Every file that comes from a user is opened by this.

    Raises:
        InputError: it is a folder, or a pipe or a device, on which reading could wait or continue for ever.
        OSError: there is no such file, or it cannot be read.
    """
    with ExitStack() as opened:
        file = opened.enter_context(open(path, "rb", opener=_without_waiting))
        _refuse_irregular(path, os.fstat(file.fileno()).st_mode)
        opened.pop_all()
    return file


def read_regular(path: Path | str) -> bytes:
    """Return the bytes of a file; errors are those of :func:`open_regular`."""
    with open_regular(path) as file:
        return file.read()


def read_regular_text(path: Path | str) -> str:
    """Return the text of a file in UTF-8, with its line endings as they are.

    Raises:
        InputError: as :func:`open_regular`.
        OSError: as :func:`open_regular`.
        UnicodeDecodeError: it is not UTF-8.
    """
    return read_regular(path).decode("utf-8")


def temporary_name(path: Path) -> Path:
    """Return a hidden name beside ``path``, with its suffix, that no other thread, process or node uses.

    It is not a process's number: those repeat on nodes with one disk, and in containers that are started again.
    """
    path = path.absolute()  # the folder . has no name
    return path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")


def as_cell(path: str) -> str:
    """Return a path as tables have it: a spreadsheet takes ``=cmd.mp4`` for a formula, and ``./=cmd.mp4``, the same file, not."""
    return f"./{path}" if path.startswith(FORMULA) else path


def as_text_cell(text: str) -> str:
    """Return a text from elsewhere as tables have it: a spreadsheet shows ``'=1+1`` as it is, and computes ``=1+1``."""
    return f"'{text}" if text.startswith(FORMULA) else text


def is_temporary(path: Path) -> bool:
    """Return whether a file has a name of :func:`temporary_name`: a process was killed while it wrote it.

    Earlier versions wrote the number of a process there.
    """
    return re.fullmatch(r"\..+\.([0-9a-f]{8}|\d+)(\.\w+)?", path.name) is not None


def natural_key(name: str) -> list[tuple[bool, int, str]]:
    """Return a sorting key that compares the numbers in a name by value: ``2.jpg`` comes before ``10.jpg``."""
    parts = [part for part in re.split(r"(\d+)", name) if part]
    return [(False, int(part), part) if part.isdecimal() else (True, 0, part.lower()) for part in parts]


def _acquired(path: Path, busy: str) -> IO[str]:
    """Return a locked file, which must still be the one of that name: its last holder may have removed it meanwhile."""
    while True:
        lock = _opened_to_lock(path)
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise InputError(busy) from error
        except OSError:
            return lock  # some file systems have no locks
        if _is_open_as(path, lock):
            return lock
        lock.close()


def _opened_to_lock(path: Path) -> IO[str]:
    """Open a lock without changing it and without following a link: a stranger may have made its folder.

    Raises:
        InputError: it is a link, or no regular file.
        OSError: it cannot be opened.
    """
    if path.is_symlink():
        raise InputError(f"{path}: is a link, expected a file of peclip or nothing: remove it")
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    try:
        _refuse_irregular(path, os.fstat(handle).st_mode)
    except InputError:
        os.close(handle)
        raise
    return os.fdopen(handle, "w")  # this does not truncate


def is_not(path: Path, wanted: Literal["file", "folder"]) -> str:
    """Describe what is at a path where a file or a folder was expected."""
    other = "folder" if path.is_dir() else "file"
    return f"is a {other}" if path.exists() and other != wanted else f"no such {wanted}"


def _is_open_as(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _refuse_irregular(path: Path | str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a socket" if not _is_device(mode) else "a device"
        raise InputError(f"{path}: is {kind}, expected a file")


def _is_device(mode: int) -> bool:
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def _sync(path: Path) -> None:
    """Bring a file, or the names in a folder, onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
