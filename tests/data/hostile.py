"""Make files that are small and take much memory or long to decode; `tests.data.broken_cases` lists what reading them gives."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import av
import numpy as np
from PIL import Image

from peclip.data.manifest import Manifest
from peclip.data.pack import Packing, pack
from tests.data.broken import SIDE, claim_jpeg_size
from tests.media import numbered_frames, write_frames, write_video

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


def many_units(path: Path) -> None:
    """Write H.264 of which a frame has 200,000 parameter sets, between start codes."""
    write_video(path, 5, size=(SIDE, SIDE))
    data = path.read_bytes()
    last = data.rindex(b"\0\0\1")
    path.write_bytes(data[:last] + (b"\0\0\1" + PARAMETERS) * 200_000 + data[last:])


def many_units_by_length(path: Path) -> None:
    """Write the same as mp4 has it: the length of each parameter set stands before it."""
    write_video(path.with_name("whole.mp4"), 5, size=(SIDE, SIDE))
    with av.open(str(path.with_name("whole.mp4"))) as whole, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.size:
                swollen = av.Packet((len(PARAMETERS).to_bytes(4) + PARAMETERS) * 200_000 + bytes(packet))
                swollen.pts, swollen.dts, swollen.time_base = packet.pts, packet.dts, packet.time_base
                swollen.is_keyframe, swollen.stream = packet.is_keyframe, stream
                output.mux(swollen)


PARAMETERS = b"\x68\xce"
"""Beginning of the parameters of a picture of H.264."""


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
