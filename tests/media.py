"""Real encoded videos and frame folders for the tests, of which every frame is known."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import ColorRange
from PIL import Image

NEARLY_LOSSLESS = {  # x264 has no B-frames where it is quite lossless
    "libx264": {"qp": "1", "preset": "veryfast", "b_strategy": "0", "sc_threshold": "0"},
    "libx265": {"x265-params": "lossless=1:log-level=none"},
}


def numbered_frames(num_frames: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """Draw frames that differ in brightness pattern and hue, so that each tells its number.

    The hue is the same all over a frame: halving the resolution of colour, as most videos do, loses nothing.

    Returns:
        uint8 (num_frames, height, width, 3), RGB.
    """
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    for i in range(num_frames):
        cell = (y * 4 // height) * 4 + x * 4 // width  # 4x4 cells show the number's bits, first bit in the first cell
        light = 80 + 60 * ((i >> (cell % 10)) & 1) + 20 * x // width
        for channel, shift in enumerate((i * 7 % 60 - 30, 0, i * 13 % 60 - 30)):
            frames[i, ..., channel] = light + shift
    return frames


def write_video(
    path: Path | str,
    num_frames: int,
    fps: int = 25,
    size: tuple[int, int] = (64, 48),
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    gop: int = 12,
    b_frames: int = 2,
    rotation: int = 0,
    container: str | None = None,
    container_options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
    frames: np.ndarray | None = None,
) -> np.ndarray:
    """Write a video whose frames are known, as nearly lossless as codec and pixel format allow.

    Args:
        path: the file; its suffix chooses the container.
        num_frames: N.
        fps: frames a second, where `pts` is None.
        size: width and height in pixels.
        codec: FFmpeg's name of the encoder.
        pix_fmt: FFmpeg's name of the pixel format.
        pts: time of each frame in units of `time_base`; for variable rate, gaps and negative times.
        time_base: seconds of one unit of `pts`; 1 / fps by default.
        gop: largest distance between keyframes.
        b_frames: largest number of frames in a row that refer to later ones.
        rotation: degrees counter-clockwise by which a player turns the frames.
        container: FFmpeg's name of the container, where the suffix does not tell.
        container_options: options of the muxer, for example `{"movflags": "faststart"}`.
        codec_options: options of the encoder, on top of those that make it lossless.
        frames: uint8 (N, H, W, 3) to write instead of `numbered_frames`.

    Returns:
        uint8 (N, H, W, 3), RGB: the frames as they were before encoding, in order of presentation, not rotated.
    """
    frames = numbered_frames(num_frames, size) if frames is None else frames
    time_base = time_base or Fraction(1, fps)
    with av.open(str(path), "w", format=container, options=container_options or {}) as output:
        stream = output.add_stream(codec, rate=fps, options=NEARLY_LOSSLESS.get(codec, {}) | (codec_options or {}))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = time_base
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = gop
        if codec in ("libx264", "mpeg4", "mpeg2video"):
            stream.codec_context.max_b_frames = b_frames
        if pix_fmt == "gray":
            stream.codec_context.color_range = ColorRange.JPEG  # all 256 levels
        if rotation:
            stream.set_display_rotation(rotation)
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = i if pts is None else pts[i]
            frame.time_base = time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return frames


def write_frames(
    folder: Path | str, num_frames: int, size: tuple[int, int] = (64, 48), *, suffix: str = ".jpg", first: int = 1
) -> np.ndarray:
    """Write a folder of numbered frame images, `1.jpg`, `2.jpg` and so on, not padded with zeros.

    Returns:
        uint8 (N, H, W, 3), RGB: the frames before compression.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    frames = numbered_frames(num_frames, size)
    for number, pixels in enumerate(frames, start=first):
        Image.fromarray(pixels).save(folder / f"{number}{suffix}", **({"quality": 95} if suffix == ".jpg" else {}))
    return frames


def write_audio(path: Path | str, *, cover: bool = False) -> None:
    """Write a second of silence; with a cover picture, as music files have it, if wanted."""
    with av.open(str(path), "w") as output:
        sound = output.add_stream("aac", rate=44100, layout="mono")
        if cover:
            picture = output.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuvj420p"
            picture.disposition = Disposition.attached_pic
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 44100
        output.mux(sound.encode(silence))
        output.mux(sound.encode(None))
        if cover:
            output.mux(picture.encode(av.VideoFrame(64, 64, "yuvj420p")))
            output.mux(picture.encode(None))


def cut_out(source: Path | str, target: Path | str, keyframe: int) -> None:
    """Copy a video from one of its keyframes on without decoding it, as `ffmpeg -ss ... -c copy` does.

    Args:
        source: the video.
        target: the file; its suffix chooses the container.
        keyframe: number of the keyframe, from 0.
    """
    with av.open(str(source)) as given, av.open(str(target), "w") as output:
        stream = output.add_stream_from_template(given.streams.video[0])
        keys, begin = 0, None
        for packet in given.demux(video=0):
            keys += packet.is_keyframe
            if packet.dts is None or keys <= keyframe:
                continue
            begin = packet.pts if begin is None else begin
            packet.pts, packet.dts, packet.stream = packet.pts - begin, packet.dts - begin, stream
            output.mux(packet)
