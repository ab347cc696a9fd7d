"""Make files that are odd, but right; `tests.data.broken_cases` lists the expected results of reading them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from PIL import Image

from tests.data.broken import FRAMES, SIDE, encoded, good
from tests.media import numbered_frames, write_frames, write_video


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


def late_sound(path: Path) -> np.ndarray:
    """Write a video whose sound begins behind what is read of the file when it is opened."""
    frames = good(path)
    data, place = path.read_bytes(), FLV_HEADER
    for _ in range(6):  # the first tags
        place += FLV_TAG + int.from_bytes(data[place + 1 : place + 4])
    path.write_bytes(data[:place] + _flv_tag(18, bytes(6_000_000)) + _flv_tag(8, b"\x2f" + bytes(100)) + data[place:])
    return frames


FLV_HEADER, FLV_TAG = 13, 15
"""Bytes of the header of an FLV file, and of a tag beside its content."""


def _flv_tag(kind: int, content: bytes) -> bytes:
    head = bytes([kind]) + len(content).to_bytes(3) + (200).to_bytes(3) + bytes(4)
    return head + content + (len(head) + len(content)).to_bytes(4)


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
