"""Make broken, odd and hostile files; `tests.data.broken_cases` lists the expected results of reading them."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from contextlib import chdir
from fractions import Fraction
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile
from zlib import crc32

import av
import numpy as np
from av.stream import Disposition
from PIL import Image

from peclip.data.manifest import Manifest
from peclip.data.pack import Packing, pack
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


# --- large frames ---


def wide(height: int) -> Callable[[Path], np.ndarray]:
    """Write one frame 20,000 pixels wide."""

    def make(path: Path) -> np.ndarray:
        frames = np.full((1, height, 20_000, 3), 90, np.uint8)
        frames[:, :, 10_000:] = 160
        write_video(path, 1, codec="mjpeg", pix_fmt="yuvj420p", frames=frames, codec_options={"qmin": "1", "qmax": "1"})
        return frames

    return make


def bomb(path: Path) -> None:
    """Write Motion JPEG whose container has small frames and whose frames claim large ones."""
    write_video(path, 5, size=(SIDE, SIDE), codec="mjpeg", pix_fmt="yuvj420p")
    parts = path.read_bytes().split(b"\xff\xd8")
    path.write_bytes(b"\xff\xd8".join([parts[0], *(claim_jpeg_size(part) for part in parts[1:])]))


def heavy(path: Path) -> None:
    """Let a container claim raw frames of 35 megapixels of 24 bits, of which a decoder could hold too many."""
    write_video(path, 2, size=(SIDE, SIDE), codec="rawvideo", pix_fmt="bgr24")
    data = path.read_bytes()
    place = data.index(b"strf") + 12
    path.write_bytes(data[:place] + struct.pack("<LL", 6_000, 5_900) + data[place + 8 :])


# --- small files that are long to decode ---


def many_scans(path: Path) -> None:
    """Write a progressive JPEG whose last scan comes again and again."""
    data = BytesIO()
    Image.fromarray(numbered_frames(1, (SIDE, SIDE))[0]).save(data, "JPEG", progressive=True)
    whole = data.getvalue()
    assert whole.count(b"\xff\xda") == 10
    end = len(whole) - 2
    path.write_bytes(whole[:end] + whole[whole.rindex(b"\xff\xda") : end] * 3000 + whole[end:])


def scans_in_a_video(path: Path) -> None:
    """Write Motion JPEG of which a frame has thousands of scans."""
    many_scans(path)
    jpeg = path.read_bytes()
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mjpeg", rate=25)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuvj420p"
        for number in range(5):
            packet = av.Packet(jpeg)
            packet.pts = packet.dts = number
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            output.mux(packet)


def scans_in_a_shard(path: Path) -> None:
    """Pack a clip, and replace its frame, checksum and all."""
    write_frames(path.parent / "clip", 1, size=(SIDE, SIDE))
    (path.parent / "clips.csv").write_text("path,label\nclip,anger\n")
    pack(Manifest.read(path.parent / "clips.csv"), path.parent, Packing(16))
    with ZipFile(path) as shard:
        (name,), comment = shard.namelist(), shard.comment
    many_scans(path.parent / "many.jpg")
    with ZipFile(path, "w") as shard:
        shard.writestr(name, (path.parent / "many.jpg").read_bytes())
        shard.comment = comment


def write_gif(path: Path, frames: int, side: int) -> None:
    """Write an animation of frames of one pixel each."""
    screen = struct.pack("<6sHHBBB6B", b"GIF89a", side, side, 0xF0, 0, 0, 10, 200, 90, 10, 200, 90)
    control = b"\x21\xf9\x04" + struct.pack("<BHBB", 4, 4, 0, 0)
    pixel = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    path.write_bytes(screen + (control + pixel) * frames + b";")


def long_animation(path: Path) -> np.ndarray:
    """Write an animation that is long, but of one pixel."""
    write_gif(path, 20_000, 1)
    return np.tile(np.array([10, 200, 90], np.uint8), (20_000, 1, 1, 1))


# --- odd, but right ---


def two_videos(path: Path) -> np.ndarray:
    """Write two videos into one file, of which the second is the larger and the default one."""
    small, large = numbered_frames(FRAMES, (32, 32))[::-1], numbered_frames(FRAMES, (SIDE, SIDE))
    with av.open(str(path), "w") as output:
        streams = [output.add_stream("libx264", rate=25, options={"qp": "1", "preset": "veryfast"}) for _ in range(2)]
        for stream, frames in zip(streams, (small, large), strict=True):
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = "yuv420p"
        streams[0].disposition, streams[1].disposition = Disposition(0), Disposition.default
        for pictures in zip(small, large, strict=True):
            for stream, pixels in zip(streams, pictures, strict=True):
                output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        for stream in streams:
            output.mux(stream.encode(None))
    return large


def with_cover(path: Path) -> np.ndarray:
    """Write a video with a cover picture, which is larger and comes first."""
    frames = numbered_frames(FRAMES, (SIDE, SIDE))
    with av.open(str(path), "w") as output:
        cover = output.add_stream("mjpeg", rate=1)
        cover.width = cover.height = 200
        cover.pix_fmt, cover.disposition = "yuvj420p", Disposition.attached_pic
        video = output.add_stream("libx264", rate=25, options={"qp": "1", "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = SIDE, SIDE, "yuv420p"
        output.mux(cover.encode(av.VideoFrame(200, 200, "yuvj420p")))
        for pixels in frames:
            output.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        for stream in (cover, video):
            output.mux(stream.encode(None))
    return frames


def false_duration(kind: str) -> Callable[[Path], np.ndarray]:
    """Let a container claim a length of hours."""

    def make(path: Path) -> np.ndarray:
        data, frames = encoded(kind)
        if kind == "mp4":
            for box in (b"mvhd", b"mdhd"):
                place = data.index(box) + 20
                data = data[:place] + struct.pack(">L", 0x7FFFFFFF) + data[place + 4 :]
        else:
            place = data.index(b"\x44\x89\x88") + 3  # Matroska's duration, a double
            data = data[:place] + struct.pack(">d", 1e9) + data[place + 8 :]
        path.write_bytes(data)
        return frames

    return make


def grey(path: Path) -> np.ndarray:
    light = (good(path, pix_fmt="gray") @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)
    return np.repeat(light[..., None], 3, axis=-1)


def turned(path: Path) -> np.ndarray:
    return np.rot90(write_video(path, FRAMES, size=(64, SIDE), rotation=90), 1, axes=(1, 2))


def odd_size(width: int, height: int) -> Callable[[Path], np.ndarray]:
    return lambda path: write_video(path, 5, size=(width, height), codec="ffv1", pix_fmt="bgra")


def with_sound(path: Path) -> np.ndarray:
    """Write sound and video, the sound first."""
    frames = numbered_frames(FRAMES, (SIDE, SIDE))
    with av.open(str(path), "w") as output:
        sound = output.add_stream("aac", rate=44100, layout="mono")
        video = output.add_stream("libx264", rate=25, options={"qp": "1", "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = SIDE, SIDE, "yuv420p"
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 44100
        output.mux(sound.encode(silence))
        for pixels in frames:
            output.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        for stream in (sound, video):
            output.mux(stream.encode(None))
    return frames


def linked(path: Path) -> np.ndarray:
    target = path.with_name("target of the link.mp4")
    frames = good(target)
    path.symlink_to(target)
    return frames


def png_named_jpg(path: Path) -> np.ndarray:
    frames = write_frames(path, 6, size=(SIDE, SIDE), suffix=".png")
    for file in path.iterdir():
        file.rename(file.with_suffix(".jpg"))
    return frames


def gif(path: Path) -> np.ndarray:
    """Write an animation whose frames have few enough colours to be exact."""
    frames = numbered_frames(6, (SIDE, SIDE))
    pictures = [Image.fromarray(frame).quantize(256) for frame in frames]
    pictures[0].save(path, "GIF", save_all=True, append_images=pictures[1:], duration=40)
    return np.stack([np.asarray(image.convert("RGB")) for image in pictures])
