"""Inspect every clip of a manifest: does it exist, how many frames does it have, can they be decoded, which have the same bytes."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from peclip.data.manifest import Clip, Manifest
from peclip.data.media.clip import count_frames, every_frame, read_chosen, stream_choice
from peclip.data.media.shard import split_path
from peclip.errors import InputError
from peclip.files import open_regular

Problem = Literal["missing", "empty", "undecodable"]

SIZE = 16  # pixels; the frames are decoded only to see whether they can be


@dataclass(frozen=True)
class Inspected:
    """Findings about a clip.

    Attributes:
        frames: number of frames; None for a clip with a problem.
        problem: kind of problem, None without one.
        message: the problem in words.
        choice: sentence on the video stream that is read, if there are several; else empty.
    """

    frames: int | None
    problem: Problem | None = None
    message: str = ""
    choice: str = ""


def inspect_clips(
    manifest: Manifest, num_frames: int, full: bool, workers: int, done: Callable[[], None]
) -> list[Inspected]:
    """Inspect every clip, several at a time.

    Args:
        manifest: the clips.
        num_frames: T; the frames that a test of the model reads are decoded.
        full: decode every frame instead.
        workers: clips that are inspected at a time.
        done: function that is called after each clip.

    Returns:
        One result per clip, in the order of the manifest.
    """

    def look(index: int) -> Inspected:
        seen = inspect_clip(manifest.clip(index), num_frames, full)
        done()
        return seen

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(look, range(len(manifest))))


def inspect_clip(clip: Clip, num_frames: int, full: bool) -> Inspected:
    """Inspect one clip; see :func:`inspect_clips`."""
    path, packed = Path(clip.path), split_path(clip.path)
    if not packed and not os.path.exists(path):
        return Inspected(None, "missing", f"{path}: no such file or folder")
    try:
        if not packed and (path.is_dir() or path.is_file()) and _size(path) == (0, 0):
            return Inspected(None, "empty", f"{path}: nothing in it")
        frames = _decode_all(clip) if full else 0
        if not frames:  # reading says why there is none
            if (clip.start, clip.end) == (None, None) and count_frames(clip.path) == 0:
                return Inspected(None, "empty", f"{path}: no frame in it")
            frames = read_chosen(clip.path, num_frames, SIZE, start=clip.start, end=clip.end).frames
        return Inspected(frames, choice=stream_choice(clip.path))
    except InputError as error:
        return Inspected(None, "undecodable", str(error))
    except OSError as error:
        return Inspected(None, "undecodable", f"{path}: cannot be read ({error.strerror})")


def _decode_all(clip: Clip) -> int:
    """Decode all frames of a clip and return their number."""
    return sum(1 for _ in every_frame(clip.path, SIZE, start=clip.start, end=clip.end))


def same_content(manifest: Manifest) -> list[list[int]]:
    """Return groups of rows whose files have the same bytes, also if they are different parts of these files; each group in order."""
    by_path: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(manifest.table["path"]):
        by_path[name].append(index)
    equal_size: dict[tuple[int, int], list[list[int]]] = defaultdict(list)
    for rows in by_path.values():
        path = manifest.clip(rows[0]).path
        with suppress(OSError):  # it is reported as a clip that cannot be read
            if os.path.exists(path):
                equal_size[_size(Path(path))].append(rows)
    groups: dict[object, list[int]] = defaultdict(list)
    for size, files in equal_size.items():
        for rows in files:
            with suppress(InputError, OSError):
                # Only files of equal size are read.
                content = _digest(Path(manifest.clip(rows[0]).path)) if len(files) > 1 else b""
                groups[size, content].extend(rows)
    return [sorted(rows) for rows in groups.values() if len(rows) > 1]


def _files(path: Path) -> Iterator[Path]:
    """Yield a file, or the files of a folder by name."""
    if path.is_dir():
        yield from sorted(child for child in path.iterdir() if child.is_file())
    elif path.is_file():
        yield path


def _size(path: Path) -> tuple[int, int]:
    """Return the number of files that are not empty, and of bytes in them."""
    sizes = [size for file in _files(path) if (size := file.stat().st_size)]
    return len(sizes), sum(sizes)


def _digest(path: Path) -> bytes:
    """Return a hash of what a file, or each file of a folder, holds."""
    total = hashlib.blake2b()
    for file in _files(path):
        with open_regular(file) as opened:
            total.update(hashlib.file_digest(opened, "blake2b").digest())
    return total.digest()
