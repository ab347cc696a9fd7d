"""Open a video file with PyAV: its stream, its clock and its packets.

Every problem of the file becomes one `InputError` that names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream

from peclip.data.media.budget import IN_UNITS, check_scans, check_units
from peclip.data.media.canvas import MAX_PIXELS, check_pixels, picture_kind, reason
from peclip.data.media.incomplete import check_pointer, is_truncated
from peclip.errors import InputError, counted

Window = tuple[float | None, float | None]
"""`[start, end)` in seconds from the beginning of the video; None leaves a side open."""

_FORMATS = (  # video files; no playlists and the like, which make FFmpeg open other files and addresses
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,h264,hevc,m4v,ivf,obu,"
    "mxf,nut,rm,dv,yuv4mpegpipe,wav,mp3,aac,flac"
)

_MAX_BYTES = 90_000_000  # largest size of a frame; 8K video of cameras takes 50 million

HELD = 0.2
"""Seconds for which a frame that is shown when a clip begins must stay, to belong to the clip."""

LENIENT = {"max_pixels": str(MAX_PIXELS)}
"""Options of a decoder that conceals damage, as a player does."""

STRICT = LENIENT | {"err_detect": "crccheck+explode"}
"""Options of a decoder that fails at damage."""

_DEFAULT_BONUS = 5_000_000  # pixels

_GENERATE_TIMES = 1  # FFmpeg's AVFMT_FLAG_GENPTS, which PyAV sets

av.logging.set_libav_level(av.logging.PANIC)  # a fault is reported once, as an InputError, and not by FFmpeg on stderr


@dataclass(frozen=True)
class Video:
    """An open video file.

    Attributes:
        path: the file, for messages.
        container: the demuxer.
        stream: the video stream that is read.
        origin: the time of the beginning of the file, in ticks of the stream.
        tick: seconds of one tick.
        aspect: width of a pixel over its height.
        is_file: whether it is a regular file rather than a pipe or a camera.
        choice: sentence on the video stream that is read, if there are several; else empty.
    """

    path: Path
    container: InputContainer
    stream: VideoStream
    origin: int
    tick: Fraction
    aspect: Fraction
    is_file: bool = True
    choice: str = ""

    def ticks(self, window: Window) -> tuple[float, float]:
        """Return the window in the stream's ticks: a frame at tick `t` belongs to it if `low <= t < high`."""
        start, end = window
        slack = 1e-3  # decimal seconds seldom hit a tick exactly; a frame at the very bound counts as being on it
        low = -np.inf if start is None else self.origin + ceil(start / float(self.tick) - slack)
        high = np.inf if end is None else self.origin + ceil(end / float(self.tick) - slack)
        return low, high

    def is_held(self, low: float, until: float, *, alone: bool) -> bool:
        """Return whether the frame that is shown when a window begins belongs to it.

        Args:
            low: begin of the window in ticks, if it has one.
            until: tick at which the next frame is shown or the window ends.
            alone: whether no frame begins within the window.
        """
        return until > low if alone else (until - low) * self.tick >= HELD - 1e-6

    @property
    def is_broadcast(self) -> bool:
        """Return whether its times may start again: MPEG-TS and MPEG-PS are joined by writing one behind the other."""
        return self.container.format.name in ("mpegts", "mpeg")

    @property
    def is_searchable(self) -> bool:
        """Return whether its bytes can be searched for the joint of two transport streams."""
        return self.is_file and self.container.format.name == "mpegts"

    @property
    def pixels(self) -> int:
        """Pixels of a frame."""
        return self.stream.codec_context.width * self.stream.codec_context.height

    def packets(self) -> Iterator[Packet[VideoStream]]:
        """Yield the stream's packets in the order of the file.

        Raises:
            InputError: if the file breaks off or is damaged between packets.
        """
        number = 0
        try:
            for packet in demux(self.container, self.stream):
                if packet.size:
                    self._check(packet)
                    yield packet
                    number += 1
        except av.FFmpegError as error:
            raise InputError(
                f"{self.path}: truncated or damaged, only {counted(number, 'frame')} can be read ({reason(error)}): replace the file"
            ) from error

    def _check(self, packet: Packet[VideoStream]) -> None:
        """Check that a packet does not take a decoder far more work or memory than a frame may.

        Raises:
            InputError: it does.
        """
        context = self.stream.codec_context
        if context.name == "mjpeg":
            check_scans(self.path, bytes(packet))
        elif context.name in IN_UNITS:
            check_units(self.path, bytes(packet), context.name, context.extradata or b"")

    @property
    def stores_presentation_times(self) -> bool:
        """Return whether the container has the times at which frames are shown; AVI has only those at which they are decoded."""
        return self.container.format.name != "avi"

    def has_presentation_times(self) -> bool:
        """Return whether packets have the times at which they are shown: those of AVI do where frames are not reordered."""
        return self.stores_presentation_times or not self.stream.codec_context.has_b_frames

    def damaged(self, ticks: int | None, why: str) -> InputError:
        """Return the error for a frame that cannot be decoded."""
        where = "" if ticks is None else f" at {float((ticks - self.origin) * self.tick):.3f} s"
        what = "the file is truncated or damaged"
        if not self.stream.codec_context.width:  # not even the size could be read
            what += f", or has frames of more than {MAX_PIXELS:,} pixels"
        return InputError(f"{self.path}: a frame{where} cannot be decoded ({why}): {what}")


def demux(container: InputContainer, stream: Stream) -> Iterator[Packet[Any]]:
    """Yield the packets of a stream, and an empty one at the end, from which a decoder knows it."""
    # PyAV raises it after the last packet, because it does not know streams that begin later in the file.
    with suppress(IndexError):
        yield from container.demux(stream)


@contextmanager
def open_video(path: Path, address: str | None = None, demuxer: str | None = None) -> Iterator[Video]:
    """Open a regular file; of several video streams, the one that the ``ffmpeg`` command takes.

    Args:
        path: the file.
        address: address that FFmpeg opens instead, such as `pipe:0`; the path is then only a name for messages.
        demuxer: FFmpeg's name of the format, if it is not to be detected; for cameras `v4l2`.

    Raises:
        InputError: if the file is not a video, has no video stream or one that cannot be decoded, or if its frames
            have more than `MAX_PIXELS` pixels.
    """
    protocol = "pipe" if address and address.startswith("pipe:") else "file"
    formats = {} if demuxer else {"format_whitelist": _FORMATS}
    try:
        container = av.open(
            address or f"file:{path}",  # the prefix keeps a name like `concat:a|b` from being taken for an address
            format=demuxer,
            metadata_errors="replace",
            options={"protocol_whitelist": protocol, **LENIENT, **formats},
        )
    except av.FFmpegError as error:
        raise _not_opened(path, error, is_file=address is None) from error
    with container:
        if address is None and is_truncated(path, container.format.name):
            raise InputError(f"{path}: truncated, its end is missing: replace the file")
        try:
            yield _video(path, container, is_file=address is None)
        except av.FFmpegError as error:
            raise InputError(f"{path}: cannot be decoded ({reason(error)}): re-encode it or replace it") from error


def _not_opened(path: Path, error: av.FFmpegError, *, is_file: bool) -> InputError:
    """Return what is wrong with a file that FFmpeg does not open."""
    if is_file:
        check_pointer(path)
    if not isinstance(error, av.ArgumentError):
        return InputError(f"{path}: not a video that can be read ({reason(error)}): expected mp4 or the like")
    if is_file and (picture := picture_kind(path)):  # its format is not on the list
        folder = "" if "animated" in picture else "; a manifest may also name a folder of frames that holds it"
        return InputError(f"{path}: is {picture}, not a video: write it as mp4{folder}")
    return InputError(f"{path}: not a video of a known kind: expected mp4 or the like")


def _check_memory(path: Path, stream: VideoStream) -> None:
    """Refuse frames so large that the 16 to which a video may refer, and those being decoded, would not fit into 2 GB.

    Raises:
        InputError: above `_MAX_BYTES`.
    """
    context = stream.codec_context
    bits = context.format.padded_bits_per_pixel if context.format else 0
    if context.width * context.height * bits > 8 * _MAX_BYTES:
        raise InputError(
            f"{path}: frames of {context.width}x{context.height} pixels of {bits} bits are more than the limit of "
            f"{_MAX_BYTES:,} bytes: scale it down"
        )


def _choose(path: Path, container: InputContainer) -> tuple[VideoStream, str]:
    """Return the video stream that the ``ffmpeg`` command takes by itself, and the choice in words if there is one.

    Raises:
        InputError: there is none, or none that can be decoded.
    """
    # a cover picture, as music files have it, is not a video
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        kinds = ", ".join(sorted({"a cover picture" if s.type == "video" else s.type for s in container.streams}))
        kinds = kinds or "none at all"
        raise InputError(f"{path}: has no video stream (streams: {kinds})")
    readable = [stream for stream in streams if stream.codec_context is not None]
    if not readable:
        raise InputError(f"{path}: its video codec is not supported: re-encode it, for example as H.264")
    stream = max(readable, key=_preference)  # the first of equal ones
    if len(streams) == 1:
        return stream, ""
    context, is_default = stream.codec_context, bool(stream.disposition & Disposition.default)
    return stream, (
        f"has {len(streams)} video streams: number {streams.index(stream) + 1} is read, of {context.width}x{context.height} "
        f"pixels{', the default' if is_default else ''}"
    )


def _preference(stream: VideoStream) -> int:
    """Return FFmpeg's score of a stream: its pixels, and a bonus for the default one."""
    is_default = bool(stream.disposition & Disposition.default)
    return stream.codec_context.width * stream.codec_context.height + _DEFAULT_BONUS * is_default


def _video(path: Path, container: InputContainer, *, is_file: bool) -> Video:
    stream, choice = _choose(path, container)
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all  # audio need not even be read
    stream.codec_context.thread_count = 1  # loader workers are the parallelism
    stream.codec_context.options = STRICT
    if stream.codec_context.name in IN_UNITS:  # its header is decoded, too
        check_units(path, stream.codec_context.extradata or b"", stream.codec_context.name, b"")
    # A raw stream's pictures have no times: FFmpeg would look for that of each in all that follow.
    if container.format.name in IN_UNITS:
        container.flags &= ~_GENERATE_TIMES
    tick = stream.time_base or Fraction(1, 1_000_000)
    begin = Fraction(container.start_time or 0, av.time_base)
    origin = round(begin / tick)
    if stream.start_time is not None and abs(stream.start_time * tick - begin) < Fraction(1, 500_000):
        origin = stream.start_time  # the container rounds to microseconds
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if not Fraction(1, 8) <= aspect <= 8:  # nothing that a camera makes
        aspect = Fraction(1)
    check_pixels(path, ceil(stream.codec_context.width * max(aspect, Fraction(1))), stream.codec_context.height)
    _check_memory(path, stream)
    return Video(path, container, stream, origin, tick, aspect, is_file, choice)
