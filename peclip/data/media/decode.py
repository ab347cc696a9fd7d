"""Decode a video from end to end with PyAV, and know exactly which of its pictures are lost.

FFmpeg conceals damage. Here its decoder stops at damage, and every picture that is lost or refers to a lost one becomes an error
in the place of the picture: only those of a clip count for the clip. Pictures that nobody shows, because they refer to others
from before the beginning of the file, are neither pictures nor errors.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from functools import cached_property
from math import inf
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import torch
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from peclip.data.media.beginning import Verdict, begins_open, judge, mark, number_of
from peclip.data.media.budget import Budget
from peclip.data.media.canvas import Canvas, reason, slots_of
from peclip.data.media.clock import Clock
from peclip.data.media.container import Video, Window, open_video
from peclip.data.media.transport import joint_behind
from peclip.errors import InputError

_LONGEST_GROUP = 600  # packets that are kept to judge what fails at the beginning; behind them, every failure is a loss
_LONGEST_DELAY = 32  # packets that a decoder may hold to put pictures in order; H.264 allows 16


class Shown(NamedTuple):
    """A picture of a video, or the error in its place.

    Attributes:
        begin: time from which it is shown, in ticks of the stream.
        end: time until which it is shown if no other picture follows.
        frame: the picture, or why it cannot be decoded.
    """

    begin: int
    end: int
    frame: VideoFrame | InputError

    @property
    def sound(self) -> VideoFrame:
        """The picture.

        Raises:
            InputError: it cannot be decoded.
        """
        if isinstance(self.frame, InputError):
            raise self.frame
        return self.frame


def decode_everything(video: Video, *, is_clip: bool) -> Iterator[Shown]:
    """Decode a video from end to end, in order of presentation.

    Where recordings were joined, as transport streams may be, each is decoded on its own, and its times follow the one before.

    Args:
        video: the open file.
        is_clip: whether it is read as one clip rather than watched, see :class:`~peclip.data.media.budget.Budget`.

    Yields:
        each picture, or the error in its place.

    Raises:
        InputError: the file breaks off, a picture is lost and its place is not known, or the budget is exceeded.
    """
    clock, budget = Clock(video), Budget(video.path, is_clip=is_clip)
    part, joint, pixels = _Part(video, clock), None, video.pixels
    for packet in video.packets():
        if clock.jumps(packet) or (joint is not None and packet.pos is not None and packet.pos >= joint):
            yield from part.finish()
            part, joint = _Part(video, clock), None
        if packet.is_corrupt and joint is None and video.is_searchable and packet.pos is not None:
            joint = joint_behind(video.path, packet.pos)
        pixels = video.pixels if packet.is_keyframe else pixels
        budget.spend(pixels, packet.size)
        yield from part.decode(packet, is_whole=joint is not None)
    yield from part.finish()


class _Part:
    """Decodes a video, or one of the recordings that were joined to it.

    Args:
        video: the open file.
        clock: clock of the whole file.
    """

    def __init__(self, video: Video, clock: Clock) -> None:
        self._video, self._clock = video, clock
        self._context = video.stream.codec_context
        self._number = -1  # number of the last packet
        self._group: list[Packet[VideoStream]] | None = None  # packets of a first group that is open; None behind it
        self._latest: deque[Packet[VideoStream]] = deque(maxlen=_LONGEST_DELAY)  # packets that were decoded
        self._failed: dict[int, tuple[Packet[VideoStream], InputError]] = {}  # packets at which it failed, to be judged
        self._lost: list[tuple[int, int, InputError]] = []  # time, number and error of pictures to come: a heap
        self._broken: tuple[int, InputError] | None = None  # the last that is lost, to which later pictures may refer
        self._is_whole = False  # whether packets are whole although FFmpeg says otherwise
        self._withheld: set[int] = set()  # pictures that the decoder failed to return, and that were shown nevertheless
        self._has_begun = False
        self._time = -inf  # time of the latest picture
        clock.restart()

    def decode(self, packet: Packet[VideoStream] | None, *, is_whole: bool = False) -> Iterator[Shown]:
        """Yield what a packet, or None at the end, brings out of the decoder.

        Args:
            packet: the next one in the order of the file.
            is_whole: whether nothing of it is missing, even if FFmpeg reports damage.

        Raises:
            InputError: a picture is lost, and it is not known when it would be shown.
        """
        self._number += 1
        self._is_whole |= is_whole
        if packet is not None:
            if self._group is not None or self._number == 0:
                self._remember(packet)
            if packet.is_corrupt and not is_whole:
                yield from self._fail(packet, "its data is incomplete")
                return
        try:
            frames = self._context.decode(packet)
        except av.FFmpegError as error:
            yield from self._fail(packet, reason(error))
            return
        if packet is not None:
            self._clock.sent(packet)
            self._latest.append(packet)
        for frame in frames:
            if self._has_begun and self._broken is None and not self._lost and not frame.is_corrupt:
                self._time = time = self._clock.time(frame)
                yield Shown(time, time + self._clock.lasts(frame), frame)
            else:
                yield from self._show(frame)

    def finish(self) -> Iterator[Shown]:
        """Yield what is left, and make the decoder ready for the next part.

        Raises:
            InputError: there is not one picture.
        """
        yield from self.decode(None)
        self._context.flush_buffers()
        if not self._has_begun and self._failed:
            _, error = next(iter(self._failed.values()))
            raise error
        yield from self._errors(inf)

    def _remember(self, packet: Packet[VideoStream]) -> None:
        """Keep a packet that belongs to an open first group, and number it, so that its frame is recognized."""
        if self._group is None:
            if not packet.is_keyframe or not begins_open(self._video, packet):
                return
            self._group, self._context.copy_opaque = [], True
        mark(packet, self._number)
        self._group.append(packet)
        if len(self._group) > _LONGEST_GROUP or (packet.is_keyframe and self._has_begun):
            self._group = None

    def _fail(self, packet: Packet[VideoStream] | None, why: str) -> Iterator[Shown]:
        """Note that the decoder failed; what that means is open until there is a picture."""
        error = self._video.damaged(None if packet is None else packet.pts, why)
        if packet is None:
            raise error
        self._failed[self._number] = packet, error
        if self._has_begun or self._group is None:
            yield from self._judge()

    def _judge(self) -> Iterator[Shown]:
        """Find out what is lost where the decoder failed, and yield what it failed to return."""
        if not self._failed:
            return
        incomplete = {
            number for number, (packet, _) in self._failed.items() if packet.is_corrupt and not self._is_whole
        }
        failed, self._failed = self._failed, {}
        verdict = Verdict(failed) if self._group is None else judge(self._video, self._group, failed, incomplete)
        for number in sorted(verdict.lost):
            if number in failed:
                self._lose(number, *failed[number])
            elif self._group is not None:
                packet = self._group[number]
                self._lose(number, packet, self._video.damaged(packet.pts, "it refers to others that are missing"))
        for number, frame in verdict.withheld.items():
            if number not in self._withheld:
                self._withheld.add(number)
                yield from self._show(frame)

    def _lose(self, number: int, packet: Packet[VideoStream], error: InputError) -> None:
        """Note that a picture is lost, and with it those that the decoder may fail to return."""
        self._broken = number, error
        for missing in (packet, *self._latest):
            time = self._clock.placed(missing)
            if time is None:
                raise error
            if not missing.is_discard and (missing is packet or time > self._time):
                heapq.heappush(self._lost, (time, number_of(missing, number), error))
        self._latest.clear()

    def _show(self, frame: VideoFrame) -> Iterator[Shown]:
        """Yield a picture, and before it the errors of earlier ones."""
        if not self._has_begun:
            self._has_begun = True
            yield from self._judge()
        number = number_of(frame, self._number)
        self._time = time = self._clock.time(frame)
        if self._broken and number > self._broken[0] and frame.key_frame and frame.pict_type == PictureType.I:
            self._broken = None
        if frame.is_corrupt and not self._is_whole:
            self._broken = number, self._video.damaged(frame.pts, "its data is damaged")
        yield from self._errors(time)
        is_sound = self._broken is None or number < self._broken[0]
        yield Shown(time, time + self._clock.lasts(frame), frame if is_sound or not self._broken else self._broken[1])

    def _errors(self, time: float) -> Iterator[Shown]:
        """Yield the errors in the place of pictures that would be shown until a time."""
        while self._lost and self._lost[0][0] <= time:
            lost, _, error = heapq.heappop(self._lost)
            yield Shown(lost, lost, error)


def within(video: Video, pictures: Iterator[Shown], window: Window) -> Iterator[Shown]:
    """Yield the pictures of a window: those that begin in it, and before them the one that is shown when it begins, if it is held.

    Args:
        video: the open file.
        pictures: all of them, in order of presentation.
        window: the part of the video.
    """
    low, high = video.ticks(window)
    before: Shown | None = None
    for shown in pictures:
        if shown.begin < low:
            before = shown
            continue
        if before is not None and video.is_held(low, min(high, shown.begin), alone=shown.begin >= high):
            yield before
        before = None
        if shown.begin >= high:
            return
        yield shown
    if before is not None and video.is_held(low, min(high, before.end), alone=True):
        yield before


class DecodedClip:
    """A video that is decoded from end to end: once to count its frames, once for those that are chosen.

    Args:
        path: a regular file.
        window: the part of the video that is the clip.
    """

    def __init__(self, path: Path, window: Window) -> None:
        self._path, self._window = path, window

    @cached_property
    def frames(self) -> int:
        """Number of frames of the clip, counted by decoding them all."""
        with open_video(self._path) as video:
            return sum(1 for _ in self.decode(video))

    def decode(self, video: Video) -> Iterator[VideoFrame]:
        """Yield the frames of the clip in order of presentation.

        Raises:
            InputError: one of them cannot be decoded.
        """
        for shown in within(video, decode_everything(video, is_clip=True), self._window):
            yield shown.sound

    def read(self, indices: np.ndarray, size: int) -> torch.Tensor:
        """Decode chosen frames; as :meth:`PlannedClip.read`, but never falls back.

        Raises:
            InputError: if the file cannot be read, or a frame of it not be decoded.
        """
        slots = slots_of(indices)
        with open_video(self._path) as video:
            canvas = Canvas(self._path, len(indices), size, video.aspect)
            for number, frame in enumerate(self.decode(video)):
                if number in slots:
                    canvas.put(frame, slots.pop(number))
                if not slots:
                    break
        return canvas.clip

    def read_all(self, size: int) -> Iterator[np.ndarray]:
        """Yield all frames, uint8 (3, size, size), each overwritten by the next.

        Raises:
            InputError: as :meth:`read`.
        """
        with open_video(self._path) as video:
            canvas = Canvas(self._path, 1, size, video.aspect)
            for frame in self.decode(video):
                canvas.put(frame, np.array([0]))
                yield canvas.clip[0].numpy()
