"""Decode chosen frames of a video file with PyAV: only what they need, and exactly those frames.

`PlannedClip` works in two steps. Its packets are collected without decoding, so that the number and the times of the
frames are known independently of the container's claims. Then each run of packets that the chosen frames need is decoded, from the
keyframe before them. Where packets and frames may not correspond one to one, or the decoder contradicts the index, it
gives up, and `DecodedClip` decodes the video from end to end: slower, with the same result.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from peclip.data.media.beginning import begins_open
from peclip.data.media.budget import Budget
from peclip.data.media.canvas import Canvas, slots_of
from peclip.data.media.clock import Clock
from peclip.data.media.container import Video, Window, open_video

_KEPT_BYTES = 64 * 2**20  # packets kept between the two steps; the packets of a longer video are read twice
_WHOLE_FRAMES = ("mov", "matroska")  # every packet is one frame: no parser had to guess its limits
_ONE_FRAME_PACKETS = {  # codecs of which a packet is exactly one frame
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
        kept: the packets themselves, or None if they are too many to keep.
    """

    pts: list[int]
    keys: list[int]
    shown: list[int]
    kept: list[Packet[VideoStream]] | None


def _index(video: Video, window: Window, seek: bool) -> _Index | None:
    """Collect the packets, or return None if they do not determine the frames."""
    if video.stream.codec_context.name not in _ONE_FRAME_PACKETS or not video.has_presentation_times():
        return None
    low, high = video.ticks(window)
    clock, can_jump = Clock(video), video.is_broadcast
    pts: list[int] = []
    keys: list[int] = []
    counted: list[tuple[int, int, int]] = []
    kept: list[Packet[VideoStream]] | None = []
    size = 0
    for packet in video.packets():
        time = packet.pts
        if time is None or packet.size <= _MARKER_BYTES:
            return None
        if can_jump:
            if clock.jumps(packet):
                return None
            clock.sent(packet)
        is_last = packet.dts is not None and packet.dts >= high  # all that follows is presented later still
        if is_last and time < high:
            return None  # its times are damaged: shown before it is decoded
        if not packet.is_discard:
            counted.append((time, len(pts), packet.duration or clock.period))
        if is_last:
            break
        if packet.is_keyframe:
            if not keys and not seek and begins_open(video, packet):
                return None  # what can be shown of its first pictures, only the decoder knows
            keys.append(len(pts))
        pts.append(time)
        size += packet.size
        if kept is not None:
            kept.append(packet)
        if size > _KEPT_BYTES:
            kept = None
    index = _Index(pts, keys, _shown(video, low, high, sorted(counted)), kept)
    return index if _is_regular(index, low if seek else None) else None


def _shown(video: Video, low: float, high: float, frames: list[tuple[int, int, int]]) -> list[int]:
    """Return the positions of the frames that are shown in a window.

    Args:
        video: video of the frames.
        low: begin of the window in ticks.
        high: end of the window in ticks.
        frames: begin, position and duration of each, by begin, up to the first beyond the window.
    """
    first, stop = bisect_left(frames, (low,)), bisect_left(frames, (high,))
    if first > 0:
        begin, _, duration = frames[first - 1]
        until = frames[first][0] if first < len(frames) else begin + duration
        first -= video.is_held(low, min(high, until), alone=first == stop)
    return [position for _, position, _ in frames[first:stop]]


def _is_regular(index: _Index, sought: float | None) -> bool:
    """Return whether times are unique and everything that is presented can be decoded from a keyframe."""
    if not index.pts:
        return sought is None
    if len(set(index.pts)) != len(index.pts) or index.keys[:1] != [0]:
        return False
    # pictures presented before the keyframe that opens the file need what is not there; after a seek, they are
    # frames before the window, provided that it landed early enough
    return min(index.pts) == index.pts[0] if sought is None else index.pts[0] <= sought


@dataclass(frozen=True)
class PlannedClip:
    """A video whose packets have been indexed: decodes only what the chosen frames need.

    Attributes:
        video: the open file.
        window: the part of it that is the clip.
        seek: whether the index starts at the window instead of at the beginning of the file.
        index: index of the packets.
    """

    video: Video
    window: Window
    seek: bool
    index: _Index

    @property
    def frames(self) -> int:
        """Number of frames of the clip."""
        return len(self.index.shown)

    def read(self, indices: np.ndarray, size: int) -> torch.Tensor | None:
        """Decode chosen frames.

        Args:
            indices: (T,) of the clip's frames; repeated ones are decoded once.
            size: side of the frames in pixels.

        Returns:
            uint8 (T, 3, size, size), or None if the decoder contradicts the index.

        Raises:
            InputError: if the file cannot be read.
        """
        if self.index.kept is not None:
            return self._decode(self.video, indices, size)
        with open_video(self.video.path) as again:
            if self.seek:
                _seek(again, self.window)
            return self._decode(again, indices, size)

    def _decode(self, video: Video, indices: np.ndarray, size: int) -> torch.Tensor | None:
        slots = {self.index.shown[i]: places for i, places in slots_of(indices).items()}
        canvas = Canvas(video.path, len(indices), size, video.aspect)
        try:
            for position, frame in _decode(video, self.index, sorted(slots)):
                canvas.put(frame, slots[position])
        except (av.FFmpegError, _PlanError):
            return None
        return canvas.clip


@contextmanager
def open_planned(path: Path, window: Window, *, seek: bool) -> Iterator[PlannedClip | None]:
    """Open a video and index its packets, without decoding.

    Args:
        path: a regular file.
        window: the part of the video that is the clip.
        seek: go to the start of the window instead of reading all packets before it.

    Yields:
        the clip, or None if the packets do not determine its frames.

    Raises:
        InputError: if the file cannot be read.
    """
    with open_video(path) as video:
        # Joined recordings have each time twice, so that seeking is ambiguous.
        is_there = not seek or (not video.is_broadcast and _seek(video, window))
        index = _index(video, window, seek) if is_there else None
        yield None if index is None else PlannedClip(video, window, seek, index)


class _PlanError(Exception):
    """The decoder contradicts the index."""


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
        _PlanError: if a run does not yield its frames, or if one of them is damaged.
    """
    # frames that no other refers to are skipped; only H.264 marks them so that the rest stays exact
    can_skip = video.stream.codec_context.name == "h264" and video.container.format.name.startswith(_WHOLE_FRAMES)
    packets = enumerate(video.packets() if index.kept is None else index.kept)
    keep = frozenset(wanted)
    budget = Budget(video.path, is_clip=True)
    for run in _runs(index, wanted):
        missing = {index.pts[i]: i for i in (keep if can_skip else index.shown) if i in run}
        begin = index.pts[run.start]
        last = begin - 1
        for frame in _decode_run(video, packets, run, begin, keep if can_skip else run, budget):
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
    video: Video,
    packets: Iterator[tuple[int, Packet[VideoStream]]],
    run: range,
    begin: int,
    keep: Container[int],
    budget: Budget,
) -> Iterator[VideoFrame]:
    """Decode the packets of a run from time `begin` on, skipping what is neither kept nor referred to."""
    context, pixels = video.stream.codec_context, video.pixels
    for position, packet in packets:
        if position < run.start or packet.pts is None or packet.pts < begin:
            continue  # presented before the keyframe, it refers to what was not decoded, and nothing later to it
        if packet.is_corrupt:
            raise _PlanError
        context.skip_frame = "DEFAULT" if position in keep else "NONREF"
        budget.spend(pixels, packet.size)
        yield from context.decode(packet)
        if position == run[-1]:
            break
    yield from context.decode(None)  # what waits to be put in order
    context.flush_buffers()
