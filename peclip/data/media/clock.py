"""Determine the time of each decoded frame, also if a container stores none, or two recordings are joined."""

from __future__ import annotations

from collections import deque
from fractions import Fraction

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from peclip.data.media.container import Video

TICK = Fraction(1, 90_000)
"""Seconds; the unit in which videos usually count."""

_BACK, _AHEAD = Fraction(1, 10), 3600
"""Seconds. In a stream whose times may start again (MPEG-TS and MPEG-PS), a larger step is the joint of two recordings."""


class Clock:
    """Times of the frames of a video in ticks of its stream, with or without times in the container.

    Args:
        video: the open file, of which no packet has been read.

    Attributes:
        period: ticks from one frame to the next, as the container claims or 25 frames/s.
    """

    def __init__(self, video: Video) -> None:
        self._origin = video.origin
        self.period = max(1, round(1 / ((video.stream.guessed_rate or Fraction(25)) * video.tick)))
        self._is_placed = video.has_presentation_times()
        self._queue: deque[int] | None = None if video.stores_presentation_times else deque()
        self._steps = (-_BACK / video.tick, _AHEAD / video.tick) if video.is_broadcast else None
        self._sent: int | None = None
        self._last: int | None = None
        self._ahead = 0  # ticks by which a part that was joined is later than its packets say
        self._is_new = False

    def jumps(self, packet: Packet[VideoStream]) -> bool:
        """Return whether times start again at a packet, which follows the last one that was sent."""
        if self._steps is None or self._sent is None or packet.dts is None:
            return False
        back, ahead = self._steps
        return not back <= packet.dts - self._sent <= ahead

    def sent(self, packet: Packet[VideoStream]) -> None:
        """Take note of a packet that is decoded."""
        self._sent = self._sent if packet.dts is None else packet.dts
        if self._queue is not None and packet.dts is not None:
            self._queue.append(packet.dts)  # frames come out in order: the next one has the earliest time

    def restart(self) -> None:
        """Expect the first packet of another part: where its times start again, they follow the last frame."""
        self._sent, self._is_new = None, self._last is not None

    def time(self, frame: VideoFrame) -> int:
        """Return the time of the next frame in order of presentation."""
        if self._queue:
            self._last = self._queue.popleft()
        elif (stored := frame.pts if frame.pts is not None else frame.dts) is not None:
            if self._is_new and self._last is not None:
                self._ahead, self._is_new = self._last + self.period - stored, False
            self._last = stored + self._ahead
        else:  # a bare stream has no times: then frames follow each other evenly
            self._last = self._origin if self._last is None else self._last + self.period
        return self._last

    def placed(self, packet: Packet[VideoStream]) -> int | None:
        """Return the time at which the frame of a packet would be shown, or None if that is not known."""
        if packet.pts is None or not self._is_placed or self._is_new:
            return None
        return packet.pts + self._ahead

    def lasts(self, frame: VideoFrame) -> int:
        """Return for how many ticks a frame is shown if none follows."""
        return frame.duration or self.period
