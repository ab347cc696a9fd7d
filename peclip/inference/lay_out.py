"""Lay out the files of a folder of answers that users see: tables about all videos, and beside them the files of each one.

A file that somebody has changed is never replaced; an error names it.
"""

import filecmp
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from peclip.errors import InputError, listed, shown
from peclip.files import atomic_write, read_regular_text, write_json
from peclip.inference.per_frame import FRAMES
from peclip.inference.sources import ANNOTATED, ANSWERS
from peclip.inference.timeline import JSON, SEGMENTS, SUMMARY, TABLE
from peclip.json_text import parse_json

DONE = "done.json"
"""File that is written last into the folder of a finished video."""

WRITTEN = "tables.json"
"""File about the tables as peclip wrote them, below :data:`ANSWERS`."""

TABLES = (TABLE, SEGMENTS, SUMMARY, FRAMES, JSON)

ADVICE = "; finished videos are kept. Free space or allow writing, then run the same command again"


def publish(folder: Path, parts: Sequence[Path]) -> None:
    """Write the tables about all videos, and copy the other files of each beside them.

    Args:
        folder: folder of the answers.
        parts: the folder of each finished video, in the order of the tables.

    Raises:
        InputError: somebody has changed a file that would be replaced.
        OSError: it cannot be written.
    """
    check_tables(folder)
    has_frames = all((part / FRAMES).exists() for part in parts)
    for name in (TABLE, SEGMENTS, SUMMARY, JSON, *([FRAMES] if has_frames else [])):
        with _noted(folder, name), atomic_write(folder / name, ADVICE) as path, path.open("wb") as whole:
            (_join_json if name == JSON else _join)(whole, [part / name for part in parts])
    if others := [path for part in parts for path in _lay_out(folder, part)]:
        raise _is_changed(folder, shown(str(others[0])))


def check_tables(folder: Path) -> None:
    """Check that the tables are as peclip wrote them, as far as their digests are known.

    Raises:
        InputError: one is not.
    """
    changed = [
        name
        for name, digest in _read_note(folder).items()
        if name in TABLES and digest != _digest(folder / name) is not None
    ]
    if changed:
        raise _is_changed(folder, listed(map(shown, changed)))


def remove(folder: Path, part: Path) -> None:
    """Remove the folder of a video, and its files that were laid out unless somebody has changed them."""
    for path, name in _files(part):
        if (folder / name).exists() and _is_same(part, path, folder / name):
            (folder / name).unlink()
    shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _noted(folder: Path, name: str) -> Iterator[None]:
    """Note the digest of a table that is written within the context; until it is complete, no digest is noted."""
    written = _read_note(folder)
    if written.pop(name, None):
        write_json(folder / ANSWERS / WRITTEN, written)
    yield
    write_json(folder / ANSWERS / WRITTEN, written | {name: _digest(folder / name)})


def _read_note(folder: Path) -> dict[str, str]:
    note: Any = None
    with suppress(FileNotFoundError, ValueError):
        note = parse_json(read_regular_text(folder / ANSWERS / WRITTEN))
    return note if isinstance(note, dict) else {}


def _join(whole: BinaryIO, tables: Sequence[Path]) -> None:
    """Write the rows of all videos below the header of the first."""
    for number, table in enumerate(tables):
        with table.open("rb") as rows:
            header = rows.readline()
            whole.write(header if number == 0 else b"")
            shutil.copyfileobj(rows, whole)


def _join_json(whole: BinaryIO, tables: Sequence[Path]) -> None:
    """Write the rows of all videos below the head of the first."""
    end = b""
    for number, table in enumerate(tables):
        with table.open("rb") as rows:
            header = rows.readline()
            whole.write(header.rstrip(b"\n") if number == 0 else b"")
            for line in rows:
                if line != b"]}\n":
                    whole.write(end + b"\n" + line.rstrip(b",\n"))
                    end = b","
    whole.write(b"\n]}\n")


def _lay_out(folder: Path, part: Path) -> Iterator[Path]:
    """Copy the files of a video except its tables; yield the names at which other files exist already.

    A film, which may be large, is one file with two names if the disk allows that.
    """
    for path, name in _files(part):
        target = folder / name
        if target.exists():
            if not _is_same(part, path, target):
                yield name
            continue
        target.unlink(missing_ok=True)  # a link that leads nowhere
        target.parent.mkdir(exist_ok=True)
        if name.name.endswith(ANNOTATED):
            with suppress(OSError):
                os.link(path, target)
                continue
        with atomic_write(target, ADVICE) as copy:
            shutil.copyfile(path, copy)


def _files(part: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the files of a video except its tables, and the name of each relative to the folder of the answers."""
    for path in sorted(part.rglob("*")):
        if path.is_file() and path.name not in (*TABLES, DONE):
            yield path, path.relative_to(part)


def _is_same(part: Path, path: Path, other: Path) -> bool:
    """Return whether a file that was laid out is unchanged; one with two names is, if it is older than the note of its video."""
    if path.samefile(other):
        with suppress(FileNotFoundError):  # the note of a video whose removal was killed
            return path.stat().st_mtime_ns <= (part / DONE).stat().st_mtime_ns
        return False
    return filecmp.cmp(path, other, shallow=False)


def _digest(path: Path) -> str | None:
    """Return the SHA-256 digest of a file in hexadecimal digits; None if there is no such file."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
    return None


def _is_changed(folder: Path, name: str) -> InputError:
    return InputError(
        f"out {folder}: peclip would replace {name}, which somebody has changed or written: move it away to keep it, then run "
        "the same command again"
    )
