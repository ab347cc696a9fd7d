"""Decode chosen frames of a video file with PyAV: only what they need, and exactly those frames.

Reading takes two steps. The packets are collected without decoding, so that the number and the times of the frames
are known whatever the container claims. Then each run of packets that the chosen frames need is decoded, from the
keyframe before them. Where packets and frames may not correspond one to one, or the decoder disagrees with the plan,
`read_planned` gives up and `read_everything` decodes the video from end to end: slower, with the same result.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import av
import numpy as np
import torch
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from peclip.data.media.canvas import Canvas, reason
from peclip.data.media.container import Clock, Video, Window, open_video

Choice = Callable[[int], np.ndarray]
"""From the number of frames in the window to the (T,) indices wanted of them."""

_HELD_BYTES = 64 * 2**20  # packets kept between the two steps; the packets of a longer video are read twice
_WHOLE_FRAMES = ("mov", "matroska")  # every packet is one frame: no parser had to guess its limits
_ONE_FRAME_PACKETS = {  # codecs of which a packet gives exactly one frame
    *("h264", "hevc", "av1", "libdav1d", "vp9", "libvpx-vp9", "mpeg4", "mpeg1video", "mpeg2video", "h263", "flv"),
    *("mjpeg", "png", "gif", "prores", "dvvideo", "ffv1", "huffyuv", "utvideo", "qtrle", "rawvideo", "theora"),
    *("wmv1", "wmv2", "wmv3", "msmpeg4v2", "msmpeg4v3"),
}
_MARKER_BYTES = 8  # a packet as small as this may say "nothing new" instead of holding a frame


@dataclass(frozen=True)
class _Index:
    """The packets of a video, in decoding order, and which of them are frames of the clip.

    Attributes:
        pts: presentation time of each packet, in ticks.
        keys: positions of the keyframes.
        shown: positions of the clip's frames, in order of presentation.
        held: the packets themselves, or None where they are too many to keep.
    """

    pts: list[int]
    keys: list[int]
    shown: list[int]
    held: list[Packet[VideoStream]] | None


def _index(video: Video, window: Window, seek: bool) -> _Index | None:
    """Collect the packets, or return None where packets may not tell the frames."""
    if video.stream.codec_context.name not in _ONE_FRAME_PACKETS or not video.has_presentation_times():
        return None
    low, high = video.ticks(window)
    pts: list[int] = []
    keys: list[int] = []
    counted: list[tuple[int, int]] = []
    held: list[Packet[VideoStream]] | None = []
    size = 0
    for packet in video.packets():
        if packet.dts is not None and packet.dts >= high:
            break  # whatever follows is presented later still
        if packet.pts is None or packet.size <= _MARKER_BYTES:
            return None
        if packet.is_keyframe:
            keys.append(len(pts))
        if not packet.is_discard and low <= packet.pts < high:
            counted.append((packet.pts, len(pts)))
        pts.append(packet.pts)
        size += packet.size
        if held is not None:
            held.append(packet)
        if size > _HELD_BYTES:
            held = None
    counted.sort()
    index = _Index(pts, keys, [position for _, position in counted], held)
    return index if _is_regular(index, low if seek else None) else None


def _is_regular(index: _Index, sought: float | None) -> bool:
    """Tell whether times are unique and whether everything that is presented can be decoded from a keyframe."""
    if not index.pts:
        return sought is None
    if len(set(index.pts)) != len(index.pts) or index.keys[:1] != [0]:
        return False
    # pictures presented before the keyframe that opens the file need what is not there; after a seek, they are
    # frames before the window, provided that it landed early enough
    return min(index.pts) == index.pts[0] if sought is None else index.pts[0] <= sought


def read_planned(path: Path, window: Window, choose: Choice, size: int, *, seek: bool) -> torch.Tensor | None:
    """Decode only what the chosen frames need.

    Args:
        path: a regular file.
        window: the part of the video that is the clip.
        choose: told the number of frames of the clip, returns the (T,) indices wanted of them.
        size: side of the frames in pixels.
        seek: go to the start of the window instead of reading all packets before it.

    Returns:
        uint8 (T, 3, size, size), or None where this way cannot promise the right frames.

    Raises:
        InputError: if the file cannot be read.
    """
    with ExitStack() as files:
        video = files.enter_context(open_video(path))
        if seek and not _seek(video, window):
            return None
        index = _index(video, window, seek)
        if index is None:
            return None
        if index.held is None:
            video = files.enter_context(open_video(path))
            if seek:
                _seek(video, window)
        chosen = choose(len(index.shown))
        slots = {index.shown[i]: np.flatnonzero(chosen == i) for i in np.unique(chosen)}
        canvas = Canvas(path, len(chosen), size, video.aspect)
        try:
            for position, frame in _decode(video, index, sorted(slots)):
                canvas.put(frame, slots[position])
        except (av.FFmpegError, _PlanError):
            return None
        return canvas.clip


def count_planned(path: Path) -> int | None:
    """Count the frames from the packets alone, or return None where that cannot be promised."""
    with open_video(path) as video:
        index = _index(video, (None, None), seek=False)
        return None if index is None else len(index.shown)


class _PlanError(Exception):
    """The decoder gave something else than the index promised."""


def _seek(video: Video, window: Window) -> bool:
    try:
        video.container.seek(int(video.ticks(window)[0]), stream=video.stream)
    except av.FFmpegError:
        return False
    return True


def _runs(index: _Index, wanted: list[int]) -> list[range]:
    """Return the runs of packets to decode, each from a keyframe to the last wanted position that builds on it."""
    runs: list[range] = []
    for position in wanted:
        k = bisect_right(index.keys, position) - 1
        while k > 0 and index.pts[index.keys[k]] > index.pts[position]:
            k -= 1  # a picture presented before its keyframe may need the keyframe before, too
        start = index.keys[k]
        while runs and start <= runs[-1].stop:
            start = min(start, runs.pop().start)
        runs.append(range(start, position + 1))
    return runs


def _decode(video: Video, index: _Index, wanted: list[int]) -> Iterator[tuple[int, VideoFrame]]:
    """Yield each wanted position with its frame.

    Raises:
        _PlanError: if a run does not give its frames, or if one of them is damaged.
    """
    # pictures that no other refers to are left out; only H.264 marks them so that the rest stays exact
    can_skip = video.stream.codec_context.name == "h264" and video.container.format.name.startswith(_WHOLE_FRAMES)
    packets = enumerate(video.packets() if index.held is None else index.held)
    keep = frozenset(wanted)
    for run in _runs(index, wanted):
        missing = {index.pts[i]: i for i in (keep if can_skip else index.shown) if i in run}
        begin = index.pts[run.start]
        last = begin - 1
        for frame in _decode_run(video, packets, run, begin, keep if can_skip else run):
            if (
                frame.is_corrupt
                or frame.pts is None
                or frame.pts <= last
                or (frame.pts == begin and not frame.key_frame)
            ):
                raise _PlanError
            last = frame.pts
            position = missing.pop(frame.pts, None)
            if position in keep:
                yield position, frame
        if any(pts >= begin for pts in missing) or not keep.isdisjoint(missing.values()):
            raise _PlanError


def _decode_run(
    video: Video, packets: Iterator[tuple[int, Packet[VideoStream]]], run: range, begin: int, keep: Container[int]
) -> Iterator[VideoFrame]:
    """Decode the packets of a run from time `begin` on, and leave out what is not kept and not referred to."""
    context = video.stream.codec_context
    for position, packet in packets:
        if position < run.start or packet.pts is None or packet.pts < begin:
            continue  # presented before the keyframe, it refers to what was not decoded, and nothing later to it
        if packet.is_corrupt:
            raise _PlanError
        context.skip_frame = "DEFAULT" if position in keep else "NONREF"
        yield from context.decode(packet)
        if position == run[-1]:
            break
    yield from context.decode(None)  # what waits to be put in order
    context.flush_buffers()


def decode_everything(video: Video) -> Iterator[tuple[int, VideoFrame]]:
    """Decode a video from end to end, in order of presentation.

    Yields:
        the time of each frame in ticks of the stream, and the frame.

    Raises:
        InputError: at the first frame that cannot be decoded.
    """
    clock = Clock(video)
    for packet in chain(video.packets(), [None]):
        if packet is not None:
            if packet.is_corrupt:
                raise video.damaged(packet.pts, "its data is incomplete")
            clock.sent(packet)
        try:
            frames = video.stream.codec_context.decode(packet)
        except av.FFmpegError as error:
            raise video.damaged(None if packet is None else packet.pts, reason(error)) from error
        for frame in frames:
            if frame.is_corrupt:
                raise video.damaged(frame.pts, "its data is damaged")
            yield clock.time(frame), frame


def read_everything(path: Path, window: Window, choose: Choice, size: int) -> torch.Tensor:
    """Do as `read_planned` does, by decoding the video from end to end: once to count, once for the frames.

    Returns:
        uint8 (T, 3, size, size).

    Raises:
        InputError: if the file cannot be read, or a frame of it not be decoded.
    """
    chosen = choose(count_everything(path, window))
    slots = {int(i): np.flatnonzero(chosen == i) for i in np.unique(chosen)}
    with open_video(path) as video:
        low, high = video.ticks(window)
        canvas = Canvas(path, len(chosen), size, video.aspect)
        inside = (frame for ticks, frame in decode_everything(video) if low <= ticks < high)
        for number, frame in enumerate(inside):
            if number in slots:
                canvas.put(frame, slots.pop(number))
            if not slots:
                break
    return canvas.clip


def count_everything(path: Path, window: Window = (None, None)) -> int:
    """Count the frames in a window by decoding them all."""
    with open_video(path) as video:
        low, high = video.ticks(window)
        return sum(low <= ticks < high for ticks, _ in decode_everything(video))
