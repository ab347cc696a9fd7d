"""The shards that `peclip pack` writes, and reading clips from them.

A shard is an uncompressed zip file of JPEG frames, ``0000017/00004.jpg`` for frame 4 of clip 17, so that any tool opens
it. The zip's own index holds the offset and the checksum of each frame, and its comment, which is JSON, describes the shard.
A clip is one run of bytes, so that its frames cost an object store one request. Its path is that of the shard with its
number, ``shard-00000.zip/0000017``.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from zlib import crc32

import av
import numpy as np
import torch
from av.video.codeccontext import VideoCodecContext

from peclip.data.media.budget import Budget, check_scans
from peclip.data.media.canvas import MAX_PIXELS, Canvas, reason, slots_of
from peclip.data.media.incomplete import check_pointer
from peclip.data.media.storage import read_file, read_ranges
from peclip.errors import InputError

VERSION = 1

MAX_FRAMES = 65_535
"""Frames in a shard, and so in a clip: what the index of a plain zip file can hold."""

_PLACE = re.compile(r"(?P<shard>.*shard-\d{5}\.zip)/(?P<clip>\d{7})", re.DOTALL)
_END = struct.Struct("<4s4H2LH")  # the end record of a zip file, before its comment
_END_BYTES = 2048  # more than that record has with our comment
_LOCAL_BYTES = 30  # size of the header before a frame, without its name
_NAME_BYTES = 17
_ENTRY = np.dtype(
    [
        ("signature", "S4"),
        *(("made_by", "<u2"), ("needs", "<u2"), ("flags", "<u2"), ("method", "<u2"), ("time", "<u4")),
        *(("crc", "<u4"), ("packed", "<u4"), ("size", "<u4")),
        *(("name_bytes", "<u2"), ("extra_bytes", "<u2"), ("comment_bytes", "<u2"), ("disk", "<u2")),
        *(("internal", "<u2"), ("external", "<u4"), ("offset", "<u4")),
        *(("clip", "S7"), ("slash", "S1"), ("frame", "S5"), ("suffix", "S4")),
    ]
)
"""An entry of the index: a plain zip's, whose name has a length of ours."""


@dataclass(frozen=True)
class ShardHeader:
    """The description of a shard, in its comment.

    Attributes:
        peclip_pack: version of the format.
        size: side of the frames in pixels.
        quality: JPEG quality of the frames, 1 to 100.
        source: digest of the paths, times and sizes of all clips that are packed together.
        first: number of the first clip.
        clips: number of clips.
    """

    peclip_pack: int
    size: int
    quality: int
    source: str
    first: int
    clips: int

    def __bytes__(self) -> bytes:
        """Return the comment."""
        return json.dumps(asdict(self)).encode()


@dataclass(frozen=True)
class Shard:
    """The index of a shard.

    Attributes:
        address: path or address of the file.
        header: description of the shard.
        begins: ``(clips + 1,)`` int64, the first frame of each clip and the number of all frames.
        offsets: ``(frames,)`` int64, where the bytes of each frame begin.
        sizes: ``(frames,)`` int64, how many they are.
        checksums: ``(frames,)`` uint32, their CRC-32.
    """

    address: str
    header: ShardHeader
    begins: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    checksums: np.ndarray

    def frames(self, clip: int) -> range:
        """Return the frames of a clip.

        Raises:
            InputError: the shard does not have it.
        """
        place = clip - self.header.first
        if not 0 <= place < self.header.clips:
            raise InputError(f"{self.address}: has no clip {clip}: copy the shards and their manifest again, together")
        return range(int(self.begins[place]), int(self.begins[place + 1]))


def clip_path(shard: int, clip: int) -> str:
    """Return the path of a packed clip, relative to the folder of the shards."""
    return f"{shard_name(shard)}/{clip:07d}"


def shard_name(shard: int) -> str:
    """Return the name of a shard's file."""
    return f"shard-{shard:05d}.zip"


def frame_name(clip: int, frame: int) -> str:
    """Return the name of a frame in a shard."""
    return f"{clip:07d}/{frame:05d}.jpg"


def split_path(path: Path | str) -> tuple[str, int] | None:
    """Return the shard and the number of a packed clip, or None if the path is that of another clip."""
    found = _PLACE.fullmatch(str(path))
    return (found["shard"], int(found["clip"])) if found else None


def read_header(address: str) -> ShardHeader:
    """Read the description of a shard.

    Raises:
        InputError: it is missing, half-written, not a shard, or of another version.
    """
    return _read_end(address)[0]


def check_shards(paths: Iterable[Path | str], size: int) -> None:
    """Read the indices of all shards that hold these clips, before many processes need them.

    Args:
        paths: paths of clips; those that are not packed are ignored.
        size: side in pixels of the model's frames.

    Raises:
        InputError: a shard is missing, half-written, of another version or for another size.
    """
    for shard in open_shards(paths):
        if shard.header.size != size:
            raise InputError(
                f"{shard.address}: its frames have {shard.header.size} pixels, but the model needs {size}: pack the "
                f"clips again with --size {size}"
            )


def open_shards(paths: Iterable[Path | str]) -> list[Shard]:
    """Read the indices of all shards that hold these clips, several at a time, as :func:`open_shard` does."""
    places = (split_path(path) for path in paths)
    addresses = sorted({place[0] for place in places if place})
    with ThreadPoolExecutor(16) as pool:  # one after the other, an object store would take a minute
        return [*pool.map(open_shard, addresses)]


class PackedClip:
    """A clip in a shard.

    Args:
        path: path of the clip, see the module.

    Raises:
        InputError: the path is not that of a packed clip, or its shard is missing, damaged or has no such clip.
    """

    def __init__(self, path: Path | str) -> None:
        place = split_path(path)
        if place is None:
            raise InputError(f"{path}: not a packed clip")
        self._path = Path(path)
        self._shard = open_shard(place[0])
        self._rows = self._shard.frames(place[1])

    @property
    def frames(self) -> int:
        """Number of frames of the clip."""
        return len(self._rows)

    def read(self, indices: np.ndarray, size: int) -> torch.Tensor:
        """Read chosen frames (T,) of the clip as uint8 (T, 3, size, size), RGB.

        Raises:
            InputError: a frame is damaged, or the shard cannot be read.
        """
        slots, shard = slots_of(indices), self._shard
        rows = self._rows.start + np.array(list(slots))
        data = read_ranges(shard.address, shard.offsets[rows].tolist(), shard.sizes[rows].tolist())
        canvas = Canvas(self._path, len(indices), size)
        # FFmpeg's decoder: its planes go into the clip as those of a video do, in 5/6 of the time that Pillow takes
        budget = Budget(shard.address, is_clip=True)
        decoder = VideoCodecContext.create("mjpeg", "r")
        decoder.thread_count = 1
        decoder.options = {"max_pixels": str(MAX_PIXELS)}
        for (index, places), jpeg, checksum in zip(slots.items(), data, shard.checksums[rows].tolist(), strict=True):
            if crc32(jpeg) != checksum:
                raise self._damaged(f"the checksum of frame {index} of clip {self._path.name} is wrong")
            scans = check_scans(shard.address, jpeg)
            try:
                (picture,) = decoder.decode(av.Packet(bytes(jpeg)))
            except (av.FFmpegError, ValueError) as error:
                raise self._damaged(f"frame {index} of clip {self._path.name}: {reason(error)}") from error
            budget.spend(picture.width * picture.height * scans, len(jpeg))
            canvas.put(picture, places)
        return canvas.clip

    def read_all(self, size: int) -> Iterator[np.ndarray]:
        """Yield all frames, uint8 (3, size, size), which are read at once; errors are those of :meth:`read`."""
        yield from self.read(np.arange(self.frames), size).numpy()

    def _damaged(self, what: str) -> InputError:
        return _damaged(self._shard.address, f"damaged, {what}")


@cache
def open_shard(address: str) -> Shard:
    """Read the index of a shard; a process reads it once.

    Raises:
        InputError: it is missing, half-written, damaged, not a shard, or of another version.
    """
    header, entries, begin, length = _read_end(address)
    if length != entries * _ENTRY.itemsize or len(index := read_file(address, begin, begin + length)) != length:
        raise _damaged(address, "damaged, its index is not that of a shard")
    table = np.frombuffer(index, _ENTRY)
    try:
        clips, frames = table["clip"].astype(np.int64), table["frame"].astype(np.int64)
    except ValueError as error:
        raise _damaged(address, "damaged, its index cannot be read") from error
    begins = np.flatnonzero(frames == 0)
    lengths = np.diff(begins, append=entries)
    expected = np.repeat(np.arange(len(begins)), lengths)
    if (
        not (table["signature"] == b"PK\x01\x02").all()
        or not np.array_equal(clips, header.first + expected)
        or not np.array_equal(frames, np.arange(entries) - begins[expected])
        or len(begins) != header.clips
    ):
        raise _damaged(address, "damaged, its index is not in order")
    offsets = table["offset"].astype(np.int64) + _LOCAL_BYTES + _NAME_BYTES
    sizes = table["size"].astype(np.int64)
    if (offsets + sizes > begin).any():  # else a frame could claim 4 GB of memory, and get it
        raise _damaged(address, "damaged, its index names frames beyond its end")
    ends = np.append(begins, entries)
    return Shard(address, header, ends, offsets, sizes, table["crc"].copy())


def _read_end(address: str) -> tuple[ShardHeader, int, int, int]:
    """Return the header of a shard, the number of its frames, and where its index begins and how long it is."""
    tail = read_file(address, -_END_BYTES)
    place = tail.rfind(b"PK\x05\x06")
    record = tail[place:] if place >= 0 else b""
    comment = record[_END.size :]
    # the last two bytes of the record are the length of the comment
    if place < 0:
        check_pointer(address, tail)
    if len(record) < _END.size or len(comment) < int.from_bytes(record[_END.size - 2 : _END.size], "little"):
        raise _damaged(address, "half-written or cut off")
    *_, entries, length, begin, _ = _END.unpack_from(record)
    try:
        values = json.loads(comment)
        version = values["peclip_pack"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{address}: a zip file, but not a shard of peclip pack") from error
    if version != VERSION:
        raise InputError(
            f"{address}: packed in version {version} of the format, this peclip reads {VERSION}: pack the clips again"
        )
    kinds = {field.name: int if field.type == "int" else str for field in fields(ShardHeader)}
    if values.keys() != kinds.keys() or any(type(values[name]) is not kind for name, kind in kinds.items()):
        raise _damaged(address, "damaged, its header is not complete")
    return ShardHeader(**values), entries, begin, length


def _damaged(address: str, what: str) -> InputError:
    return InputError(f"{address}: {what}: copy it again, or remove it and run peclip pack again")
