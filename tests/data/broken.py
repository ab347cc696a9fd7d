"""Files that are broken, odd or hostile: what makes each of them, and what reading it has to give."""

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
from typing import NamedTuple
from zlib import crc32

import av
import numpy as np
from PIL import Image

from tests.media import numbered_frames, write_audio, write_frames, write_video

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


class Case(NamedTuple):
    """A file and what reading it has to give.

    Attributes:
        name: of the file or folder.
        make: makes it at a path and returns the frames, uint8 (N, H, W, 3), that it shows; None if it shows none.
        says: what the refusal has to say; None where the file is to be read right; empty where either will do.
        off: grey levels by which a pixel may be off.
    """

    name: str
    make: Callable[[Path], np.ndarray | None]
    says: str | None
    off: int = 4


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
    """Put a video of a kind under whatever name."""

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


# --- odd, but right ---


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


MILLISECOND = Fraction(1, 1000)
UNEVEN = np.cumsum(np.random.default_rng(0).integers(1, 200, FRAMES)).tolist()


def jpeg() -> bytes:
    data = BytesIO()
    Image.fromarray(numbered_frames(1)[0]).save(data, "JPEG")
    return data.getvalue()


SHARES = (0.01, 0.2, 0.5, 0.8, 0.98)
CUTS = {
    f"{kind}, cut at {share:.0%}": Case(f"a{CONTAINERS[kind][0]}", cut(kind, share), ": ")
    for kind in CONTAINERS
    for share in SHARES
}
UNNOTICED = 256  # grey levels: without a checksum, a decoder may take for a picture what is none
FLIPS = {
    f"{kind}, flipped at {share:.1%}": Case(
        f"a{CONTAINERS[kind][0]}",
        flipped(kind, share),
        "",
        0 if kind == "mov with checksums" and share < 0.8 else UNNOTICED,  # its index follows, which has none
    )
    for kind in CONTAINERS
    for share in (0.0, 0.002, 0.01, 0.1, 0.3, 0.6, 0.9, 0.995)
}

REFUSED = {
    "zero bytes": Case("a.mp4", Path.touch, "is empty"),
    "text": Case("a.mp4", content(b"not a video at all\n" * 100), "not a video"),
    "noise": Case("a.mp4", content(np.random.default_rng(0).bytes(10_000)), "not a video"),
    "a JPEG as a video": Case("a.mp4", content(jpeg()), "not a video"),
    "a PNG as a video": Case("a.mp4", picture("PNG"), "not a video"),
    "a playlist": Case("a.mp4", content(b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n#EXT-X-ENDLIST\n"), "not a video"),
    "a list of files": Case("a.mp4", content(b"ffconcat version 1.0\nfile /etc/hostname\n"), "not a video"),
    "sound alone": Case("a.m4a", write_audio, "no video stream (streams: audio)"),
    "sound named mp4": Case("a.mp4", write_audio, "no video stream (streams: audio)"),
    "sound with a cover": Case(
        "a.mp4", lambda path: write_audio(path, cover=True), "no video stream (streams: a cover picture, audio)"
    ),
    "no frame in mp4": Case("a.mp4", without_frames, "no video stream (streams: none at all)"),
    "no frame in mkv": Case("a.mkv", without_frames, "not a video that can be read (End of file)"),
    "no frame in avi": Case("a.avi", without_frames, "has no frame"),
    "an unknown codec": Case("a.mp4", unknown_codec, "codec is not supported"),
    "frames of 20,000 x 2,000": Case("a.mov", wide(2_000), "has frames of more than 36,000,000 pixels"),
    "frames that claim 4 gigapixels": Case("a.avi", bomb, "cannot be decoded"),
    "frames of 106 MB": Case("a.avi", heavy, "6000x5900 pixels of 24 bits are more than the limit of 90,000,000 bytes"),
    "an empty folder": Case("a.mp4", Path.mkdir, "has no image"),
    "a folder without images": Case("a", lambda path: path.mkdir() or content(b"text")(path / "a.txt"), "has no image"),
    "a FIFO": Case("a.mp4", fifo, "neither a file nor a folder"),
    "a socket": Case("a.mp4", listening, "neither a file nor a folder"),
    "a device": Case("a.mp4", link("/dev/zero"), "neither a file nor a folder"),
    "a link to itself": Case("a.mp4", link("a.mp4"), "symbolic links"),
    "a link to nothing": Case("a.mp4", link("nowhere.mp4"), "No such file"),
    "no permission": Case("a.mp4", unreadable, "Permission denied"),
    "a folder without permission": Case("a", unreadable_folder, "Permission denied"),
    "a name that is too long": Case("a" * 300 + ".mp4", lambda path: None, "name too long"),
    "text among the frames": Case("a", folder(instead(content(b"text"))), "4.png: not an image"),
    "nothing among the frames": Case("a", folder(instead(Path.touch)), "4.png: not an image"),
    "a video among the frames": Case("a", folder(instead(named("mp4")), suffix=".jpg"), "4.jpg: not an image"),
    "a JPEG that is cut": Case("a", folder(cut_file, suffix=".jpg"), "4.jpg: not an image that can be read"),
    "a PNG that is cut": Case("a", folder(cut_file), "4.png: not an image that can be read"),
    "a WebP that is cut": Case("a", folder(cut_file, suffix=".webp"), "4.webp: not an image that can be read"),
    "a BMP that is cut": Case("a", folder(cut_file, suffix=".bmp"), "4.bmp: not an image that can be read"),
    "a flipped byte in a PNG": Case("a", folder(one_byte), "4.png: not an image that can be read"),
    "a JPEG that claims 4 gigapixels": Case("a", folder(instead(large_jpeg), suffix=".jpg"), "4290250000 pixels"),
    "a PNG that claims 4 gigapixels": Case("a", folder(instead(large_png)), "3600000000 pixels"),
    "a BMP that claims 4 gigapixels": Case("a", folder(instead(large_bmp), suffix=".bmp"), "3600000000 pixels"),
    "a JPEG of 3 GB": Case("a", folder(instead(sparse), suffix=".jpg"), "4.jpg: not an image"),
    "a FIFO among the frames": Case("a", folder(instead(fifo)), "4.png: not a"),
    "a folder among the frames": Case("a", folder(instead(Path.mkdir)), "4.png: not a"),
    "a link to itself among the frames": Case("a", folder(instead(link("4.png"))), "4.png: not a"),
    "a packed clip of no shard": Case("shard-00000.zip", content(b"no zip"), "shard-00000.zip: half-written"),
}

READ = {
    "one frame": Case("a.mp4", lambda path: write_video(path, 1, size=(SIDE, SIDE)), None),
    "mp4 named avi": Case("a.avi", named("mp4"), None),
    "avi named mp4": Case("a.mp4", named("avi"), None, 24),
    "webm named jpg": Case("a.jpg", named("webm"), None),
    "a name without suffix": Case("-a", named("mkv"), None),
    "a name like an address": Case("concat:a|b.mp4", named("mp4"), None),
    "a name with letters of all kinds": Case("é %d #1 'ü'\n.mp4", named("mp4"), None),
    "a folder named mp4": Case("a.mp4", folder(), None, 0),
    "PNG named jpg": Case("a", png_named_jpg, None, 0),
    "a link": Case("a.mp4", linked, None),
    "frames of 20,000 x 200": Case("a.mov", wide(200), None, 8),
    "a false duration in mp4": Case("a.mp4", false_duration("mp4"), None),
    "a false duration in mkv": Case("a.mkv", false_duration("mkv"), None),
    "variable rate": Case("a.mp4", lambda path: good(path, pts=UNEVEN, time_base=MILLISECOND), None),
    "negative times": Case("a.mkv", lambda p: good(p, pts=[t - 900 for t in UNEVEN], time_base=MILLISECOND), None),
    "rotated": Case("a.mp4", turned, None),
    "interlaced": Case(
        "a.mp4", lambda p: good(p, codec_options={"flags": "+ildct+ilme", "x264-params": "tff=1"}), None
    ),
    "10 bit": Case("a.mp4", lambda path: good(path, pix_fmt="yuv420p10le"), None),
    "alpha": Case("a.mov", lambda path: good(path, codec="qtrle", pix_fmt="argb"), None, 0),
    "grey": Case("a.mp4", grey, None),
    "49 x 51 pixels": Case("a.mkv", odd_size(49, 51), None, 0),
    "1 x 1 pixel": Case("a.mkv", odd_size(1, 1), None, 0),
    "3 x 200 pixels": Case("a.mkv", odd_size(3, 200), None, 0),
    "sound before the video": Case("a.mp4", with_sound, None, 12),
    "an animation": Case("a.gif", gif, None, 0),
}

CASES = CUTS | FLIPS | REFUSED | READ
