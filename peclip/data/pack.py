"""Pack the clips of a manifest into few large files, so that training need not decode video nor open many small ones.

The shards are written in the order of the manifest, each under a temporary name that is changed when it is complete, and
the manifest last. So after any interruption the next run resumes after the last shard.
"""

from __future__ import annotations

import zipfile
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from einops import rearrange
from PIL import Image
from rich.progress import Progress

from peclip.data.contents import FACES_NOTE, FIND_UNREADABLE, CropsState, contents_digest
from peclip.data.manifest import Manifest
from peclip.data.media.clip import every_frame
from peclip.data.media.shard import (
    MAX_FRAMES,
    VERSION,
    ShardHeader,
    clip_path,
    frame_name,
    open_shard,
    read_header,
    shard_name,
)
from peclip.data.subjects import with_videos
from peclip.errors import InputError
from peclip.files import atomic_write, check_folder, file_errors, locked, write_json

MANIFEST = "manifest.csv"

MEGABYTE = 1_000_000

LARGEST = 2000
"""MB of a shard, and of a clip: the index of a plain zip file reaches to twice that."""


@dataclass(frozen=True)
class Packing:
    """Options of packing.

    Attributes:
        size: side of the frames in pixels.
        quality: JPEG quality of the frames, 1 to 100.
        shard_size: largest size of a shard in MB; one clip may exceed it.
        workers: clips that are decoded at a time.
    """

    size: int = 224
    quality: int = 90
    shard_size: int = 256
    workers: int = 1

    def __post_init__(self) -> None:
        limits = {"size": 4096, "quality": 100, "shard_size": LARGEST, "workers": 1024}
        for name, largest in limits.items():
            value = getattr(self, name)
            if not 1 <= value <= largest:
                raise InputError(f"{name} is {value}, expected 1 to {largest}")


def pack(manifest: Manifest, out: Path, packing: Packing, progress: Progress | None = None) -> Manifest:
    """Pack all clips of a manifest, or resume an interrupted run.

    Args:
        manifest: the clips.
        out: folder of the shards and of their manifest.
        packing: the settings.
        progress: shows the progress.

    Returns:
        The manifest of the packed clips, as it is written: path, label, split, fold, and the subject or the video of a piece.

    Raises:
        InputError: a clip cannot be read, the folder cannot be written to, another run is writing there, or it holds
            other clips or frames.
    """
    header = ShardHeader(VERSION, packing.size, packing.quality, contents_digest(manifest), first=0, clips=0)
    check_folder(out)
    with file_errors():
        out.mkdir(parents=True, exist_ok=True)
    with locked(out, busy=f"{out}: another peclip pack is writing there: wait for it"):
        shards = _finished(out, header)
        _check_manifest(out)
        task = progress.add_task("packing clips", total=len(manifest), completed=sum(shards)) if progress else None
        with closing(_encoded(manifest, packing, sum(shards))) as clips:
            clip = next(clips, None)
            while clip is not None:
                path, number = out / shard_name(len(shards)), clip.number
                clip = _write_shard(path, clip, clips, replace(header, first=number), packing.shard_size)
                shards.append((clip.number if clip else len(manifest)) - number)
                if progress is not None and task is not None:
                    progress.update(task, completed=sum(shards))
        _remove(out, len(shards))
        if (crops := CropsState.read(manifest.source.parent)) is not None:
            write_json(out / FACES_NOTE, asdict(crops))
        return _write_manifest(manifest, out, shards)


class _Clip(NamedTuple):
    """A clip that is ready to be written: its number and its JPEG frames."""

    number: int
    frames: list[bytes]


def _write_shard(path: Path, clip: _Clip, clips: Iterator[_Clip], header: ShardHeader, megabytes: int) -> _Clip | None:
    """Write a shard, at least of one clip, and return the first clip that does not fit into it."""
    following: _Clip | None = clip
    size = frames = count = 0
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
        while following is not None:
            size, frames = size + sum(map(len, following.frames)), frames + len(following.frames)
            if count and (size > megabytes * MEGABYTE or frames > MAX_FRAMES):
                break
            for number, frame in enumerate(following.frames):
                file.writestr(zipfile.ZipInfo(frame_name(following.number, number)), frame)
            count, following = count + 1, next(clips, None)
        file.comment = bytes(replace(header, clips=count))
    open_shard.cache_clear()  # this process may have read another file of that name
    return following


def _write_manifest(manifest: Manifest, out: Path, shards: list[int]) -> Manifest:
    numbers = [number for number, clips in enumerate(shards) for _ in range(clips)]
    paths = [clip_path(number, clip) for clip, number in enumerate(numbers)]
    table = manifest.table[manifest.facts].assign(path=paths, subject=with_videos(manifest))
    packed = Manifest(table, source=out / MANIFEST, root=out, notes=manifest.notes)
    packed.write(out / MANIFEST)
    return packed


def _encoded(manifest: Manifest, packing: Packing, first: int) -> Generator[_Clip]:
    """Yield the clips in order, from a given one; a few are decoded ahead."""
    waiting: deque[tuple[int, Future[list[bytes]]]] = deque()
    rows = iter(range(first, len(manifest)))
    with ThreadPoolExecutor(packing.workers) as pool:  # decoder and encoder release Python's lock
        try:
            while True:
                while len(waiting) < 2 * packing.workers and (row := next(rows, None)) is not None:
                    waiting.append((row, pool.submit(_encode, manifest, row, packing)))
                if not waiting:
                    return
                row, clip = waiting.popleft()
                yield _Clip(row, clip.result())
        finally:
            pool.shutdown(cancel_futures=True)


def _encode(manifest: Manifest, row: int, packing: Packing) -> list[bytes]:
    clip = manifest.clip(row)
    pictures: list[bytes] = []
    size = 0
    try:
        for frame in every_frame(clip.path, packing.size, start=clip.start, end=clip.end):
            if len(pictures) == MAX_FRAMES or size > LARGEST * MEGABYTE:
                raise InputError(f"{clip.path}: too long for a shard: cut it into clips with the columns start and end")
            file = BytesIO()
            Image.fromarray(rearrange(frame, "c h w -> h w c")).save(file, "JPEG", quality=packing.quality)
            pictures.append(file.getvalue())
            size += len(pictures[-1])
        if not pictures:
            raise InputError(f"{clip.path}: has no frame")
    except InputError as error:
        raise InputError(f"{error} ({clip.where}); {FIND_UNREADABLE}") from error
    return pictures


def _check_manifest(out: Path) -> None:
    """Check that a manifest in the folder was written by ``peclip pack``.

    Raises:
        InputError: it is another one, which would be replaced.
    """
    if (out / MANIFEST).exists() and clip_path(0, 0).partition("/")[0] not in (out / MANIFEST).read_text(
        errors="replace"
    ):
        raise InputError(f"out {out}: has a {MANIFEST} that peclip pack did not write: name another folder", "out")


def _finished(out: Path, header: ShardHeader) -> list[int]:
    """Return how many clips each shard has, up to the first missing one.

    Raises:
        InputError: a shard is damaged, or holds other clips or other frames.
    """
    shards: list[int] = []
    while (path := out / shard_name(len(shards))).exists():
        written = read_header(str(path))
        for what in ("size", "quality"):
            if getattr(written, what) != getattr(header, what):
                raise InputError(
                    f"{out}: was packed with {what} {getattr(written, what)}, not {what} {getattr(header, what)}: "
                    "choose another folder"
                )
        if written.source != header.source:
            raise InputError(
                f"{out}: holds the clips of another manifest, or their files have changed: choose another folder"
            )
        if written.first != sum(shards):
            break  # the rest is of a run with smaller shards
        shards.append(written.clips)
    return shards


def _remove(out: Path, first: int) -> None:
    """Remove the shards from a given number, which are of an earlier run with smaller shards."""
    with file_errors():
        while (path := out / shard_name(first)).exists():
            path.unlink()
            first += 1
