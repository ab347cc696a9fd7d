"""Make broken files; `tests.data.broken_cases` lists the expected results of reading them."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from contextlib import chdir
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import av
import numpy as np
from PIL import Image

from tests.media import numbered_frames, write_frames, write_video

SIDE = 48
FRAMES = 24

CONTAINERS = {
    "mp4": (".mp4", {}),
    "mp4, index first": (".mp4", {"container_options": {"movflags": "faststart"}}),
    "mkv": (".mkv", {}),
    "avi": (".avi", {"codec": "mpeg4", "codec_options": {"b": "20M"}, "b_frames": 0}),
    "webm": (".webm", {"codec": "libvpx-vp9", "codec_options": {"lossless": "1", "deadline": "realtime"}}),
    "mov with checksums": (".mov", {"codec": "png", "pix_fmt": "rgb24"}),
}
"""Videos to be damaged, by name: suffix and options of `write_video`."""


@cache
def encoded(kind: str) -> tuple[bytes, np.ndarray]:
    """Return a video of a kind of `CONTAINERS` and its frames."""
    suffix, options = CONTAINERS[kind]
    with TemporaryDirectory() as folder:
        path = Path(folder, f"a{suffix}")
        frames = write_video(path, FRAMES, size=(SIDE, SIDE), **options)
        return path.read_bytes(), frames


def good(path: Path, **options: object) -> np.ndarray:
    """Write a video as it should be."""
    return write_video(path, FRAMES, size=(SIDE, SIDE), **options)


def named(kind: str) -> Callable[[Path], np.ndarray]:
    """Write a video of a kind under any name."""

    def make(path: Path) -> np.ndarray:
        data, frames = encoded(kind)
        path.write_bytes(data)
        return frames

    return make


# --- cut and flipped ---


def cut(kind: str, share: float) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        data, _ = encoded(kind)
        path.write_bytes(data[: int(len(data) * share)])

    return make


def flipped(kind: str, share: float) -> Callable[[Path], np.ndarray]:
    def make(path: Path) -> np.ndarray:
        data, frames = encoded(kind)
        place = int(len(data) * share)
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        return frames

    return make


# --- no video ---


def content(data: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(data)

    return make


def picture(kind: str) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(numbered_frames(1)[0]).save(path, kind)


def animation(kind: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        first, *rest = map(Image.fromarray, numbered_frames(5))
        first.save(path, kind, save_all=True, append_images=rest, duration=40)

    return make


def without_frames(path: Path) -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4" if path.suffix == ".avi" else "libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        file.start_encoding()


def unknown_codec(path: Path) -> None:
    path.write_bytes(encoded("mp4")[0].replace(b"avc1", b"zzzz"))


# --- what is not a file ---


def fifo(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    with chdir(path.parent), socket.socket(socket.AF_UNIX) as file:
        file.bind(path.name)  # the whole path may be too long for a socket


def link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def unreadable(path: Path) -> None:
    good(path)
    path.chmod(0)


def unreadable_folder(path: Path) -> None:
    write_frames(path, 3)
    path.chmod(0)


# --- folders of frames ---


def folder(spoil: Callable[[Path], object] | None = None, **options: object) -> Callable[[Path], np.ndarray]:
    """Make a folder of frames, of which one is spoilt."""

    def make(path: Path) -> np.ndarray:
        frames = write_frames(path, 6, size=(SIDE, SIDE), **{"suffix": ".png", **options})
        if spoil:
            spoil(next(path.glob("4.*")))
        return frames

    return make


def instead(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Put something else in the place of a file."""

    def spoil(path: Path) -> None:
        path.unlink()
        make(path)

    return spoil


def cut_file(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])


def one_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3] ^= 0xFF
    path.write_bytes(data)


def large_jpeg(path: Path) -> None:
    """Let the header of a JPEG claim 65,500 x 65,500 pixels: 13 GB."""
    Image.fromarray(numbered_frames(1)[0]).save(path, "JPEG")
    path.write_bytes(claim_jpeg_size(path.read_bytes()))


def claim_jpeg_size(data: bytes) -> bytes:
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", 65_500, 65_500) + data[place + 4 :]


def sparse(path: Path) -> None:
    """Let a JPEG be followed by 3 GB of nothing, which take no place on the disk."""
    Image.fromarray(numbered_frames(1)[0]).save(path, "JPEG")
    os.truncate(path, 3_000_000_000)


def large_png(path: Path) -> None:
    Image.fromarray(numbered_frames(1)[0]).save(path, "PNG")
    data = path.read_bytes()
    head = data[12:16] + struct.pack(">LL", 60_000, 60_000) + data[24:29]
    path.write_bytes(data[:12] + head + struct.pack(">L", crc32(head)) + data[33:])


def large_bmp(path: Path) -> None:
    Image.fromarray(numbered_frames(1)[0]).save(path, "BMP")
    data = path.read_bytes()
    path.write_bytes(data[:18] + struct.pack("<LL", 60_000, 60_000) + data[26:])
