"""Read files from a disk or, by their address (``s3://bucket/name``), from elsewhere."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from peclip.errors import InputError
from peclip.files import check_regular, open_regular


def is_address(path: Path | str) -> bool:
    """Return whether this is the address of a file elsewhere rather than a path."""
    return "://" in str(path)


def read_file(path: Path | str, start: int | None = None, end: int | None = None) -> bytes:
    """Return the bytes of a file, or those from `start` to `end` as in a slice.

    Raises:
        InputError: it is missing, cannot be read, or the package for its kind of address is not installed.
    """
    with _errors(path):
        # the file system is looked up each time: fsspec keeps one for each process, and one does not outlive a fork
        files, name = fsspec.core.url_to_fs(os.fspath(path))
        if isinstance(files, LocalFileSystem):
            check_regular(name)
        if start is not None and start < 0:  # not every kind of address can be asked for its end
            start = max(0, files.size(name) + start)
        return files.cat_file(name, start=start, end=end)


def read_ranges(path: Path | str, begins: Sequence[int], sizes: Sequence[int]) -> list[bytes | memoryview]:
    """Return ascending ranges of a file: from a disk one by one, from elsewhere all in one request.

    Raises:
        InputError: as :func:`read_file`; a range beyond the end of the file is shorter than asked for.
    """
    if is_address(path):
        first, stop = begins[0], begins[-1] + sizes[-1]
        whole = memoryview(read_file(path, first, stop))
        return [whole[begin - first : begin - first + size] for begin, size in zip(begins, sizes, strict=True)]
    with _errors(path), open_regular(path) as file:
        return [os.pread(file.fileno(), size, begin) for begin, size in zip(begins, sizes, strict=True)]


@contextmanager
def _errors(path: Path | str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise InputError(f"{path}: addresses of this kind need a package ({error})") from error
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except Exception as error:  # each kind of address has errors of its own
        words = " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())
        raise InputError(f"{path}: cannot be read ({words})") from error
