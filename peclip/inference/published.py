"""The files of a folder of answers that people see: tables about all videos, and beside them the files of each one.

What somebody has changed is never replaced: it is named instead.
"""

import filecmp
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from peclip.errors import InputError, shown
from peclip.files import atomic_write, read_regular_text, write_json
from peclip.inference.frame_table import FRAMES
from peclip.inference.sources import ANNOTATED, ANSWERS
from peclip.inference.timeline import JSON, SEGMENTS, SUMMARY, TABLE

DONE = "done.json"
"""File that is written last into the folder of a finished video."""

WRITTEN = "tables.json"
"""File about the tables as peclip wrote them, below :data:`ANSWERS`."""

TABLES = (TABLE, SEGMENTS, SUMMARY, FRAMES, JSON)

ADVICE = "; finished videos are kept. Free space or allow writing, then run the same command again"


def publish(folder: Path, parts: Sequence[Path]) -> None:
    """Put the tables of all videos together, and lay the other files of each beside them.

    Args:
        folder: of the answers.
        parts: the folder of each finished video, in the order of the tables.

    Raises:
        InputError: somebody has changed a file that would be replaced.
        OSError: it cannot be written.
    """
    check_tables(folder)
    (folder / ANSWERS / WRITTEN).unlink(missing_ok=True)  # until all are written again
    has_frames = all((part / FRAMES).exists() for part in parts)
    for name in (TABLE, SEGMENTS, SUMMARY, *([FRAMES] if has_frames else [])):
        with atomic_write(folder / name, ADVICE) as path, path.open("wb") as whole:
            for number, part in enumerate(parts):
                with (part / name).open("rb") as table:
                    header = table.readline()
                    whole.write(header if number == 0 else b"")
                    shutil.copyfileobj(table, whole)
    with atomic_write(folder / JSON, ADVICE) as path, path.open("wb") as whole:
        _join_json(whole, parts)
    write_json(folder / ANSWERS / WRITTEN, {name: _state(folder / name) for name in TABLES})
    if others := [path for part in parts for path in _lay_out(folder, part)]:
        raise _is_changed(folder, str(others[0]))


def check_tables(folder: Path) -> None:
    """Check that the tables are as peclip wrote them; of those of an earlier version that is not known.

    Raises:
        InputError: one is not.
    """
    written: dict[str, list[int] | None] = {}
    with suppress(FileNotFoundError, ValueError, TypeError):
        written = dict(json.loads(read_regular_text(folder / ANSWERS / WRITTEN)))
    for name, state in written.items():
        if name in TABLES and _state(folder / name) not in (state, None):
            raise _is_changed(folder, name)


def remove(folder: Path, part: Path) -> None:
    """Remove the folder of a video, and its files that were laid out unless somebody has changed them."""
    for path, name in _files(part):
        if (folder / name).exists() and _is_same(part, path, folder / name):
            (folder / name).unlink()
    shutil.rmtree(part, ignore_errors=True)


def _join_json(whole: BinaryIO, parts: Sequence[Path]) -> None:
    """Write the rows of all videos below the head of the first."""
    end = b""
    for number, part in enumerate(parts):
        with (part / JSON).open("rb") as rows:
            header = rows.readline()
            whole.write(header.rstrip(b"\n") if number == 0 else b"")
            for line in rows:
                if line != b"]}\n":
                    whole.write(end + b"\n" + line.rstrip(b",\n"))
                    end = b","
    whole.write(b"\n]}\n")


def _lay_out(folder: Path, part: Path) -> Iterator[Path]:
    """Copy the files of a video but for its tables; yield the names under which other files are there.

    Of a film, which may be large, there is one copy under two names where the disk allows that.
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
    """Yield the files of a video but for its tables, and the name of each from the folder of the answers."""
    for path in sorted(part.rglob("*")):
        if path.is_file() and path.name not in (*TABLES, DONE):
            yield path, path.relative_to(part)


def _is_same(part: Path, path: Path, other: Path) -> bool:
    """Return whether a file that was laid out is as it was; one under two names, if it is older than the note of its video."""
    if path.samefile(other):
        return path.stat().st_mtime_ns <= (part / DONE).stat().st_mtime_ns
    return filecmp.cmp(path, other, shallow=False)


def _state(path: Path) -> list[int] | None:
    """Return size and time of the last change of a file; None where there is none."""
    with suppress(FileNotFoundError):
        status = path.stat()
        return [status.st_size, status.st_mtime_ns]
    return None


def _is_changed(folder: Path, name: str) -> InputError:
    return InputError(
        f"out {folder}: {shown(name)} is there already, and not as peclip wrote it: move it away to keep it, then run the "
        "same command again"
    )
