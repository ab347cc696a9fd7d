"""Take the sound of a video over into another file: as it is where mp4 files may hold it so, else as AAC."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Discard, Disposition

from peclip.data.media.canvas import reason
from peclip.data.media.container import Video, demux, open_video
from peclip.errors import InputError

PLAYED = ("aac", "mp3", "ac3", "eac3", "alac")
"""Codecs that players expect in an mp4 file."""

_CHANNELS = {1: "mono", 2: "stereo"}  # channels of the AAC that is written; more are mixed down to two
_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000)  # AAC's


class Sound:
    """The sound of a video on its way into another file.

    Args:
        video: the open file, of which nothing has been read.
        stream: audio stream of the video.
        output: the other file, to which a stream is added.
    """

    def __init__(self, video: Video, stream: AudioStream, output: OutputContainer) -> None:
        self._video, self._output = video, output
        self._waiting: Packet[AudioStream] | None = None
        context = stream.codec_context
        self._is_copied = context.codec.canonical_name in PLAYED
        if self._is_copied:
            self._stream = output.add_stream_from_template(stream)
        else:
            rate = next((rate for rate in _RATES if rate >= context.sample_rate), _RATES[-1])
            layout = _CHANNELS.get(context.channels, "stereo")
            self._stream = output.add_stream("aac", rate=rate, layout=layout)
            self._resampler = AudioResampler("fltp", layout, rate)
        self._last: int | None = None
        self._packets = self._read(stream)

    def write_until(self, seconds: float) -> None:
        """Write the sound up to a second of the video.

        Raises:
            InputError: the file breaks off.
        """
        if self._waiting is not None and _begin(self._waiting) > seconds:
            return
        if self._waiting is not None:
            self._output.mux_one(self._waiting)
            self._waiting = None
        for packet in self._packets:
            if _begin(packet) > seconds:
                self._waiting = packet
                return
            self._output.mux_one(packet)

    def _read(self, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
        """Yield packets for the other file, whose times are from the beginning of the video."""
        try:
            for packet in demux(self._video.container, stream):
                if self._is_copied:
                    yield from self._shifted([packet] if packet.size else [])
                else:
                    yield from self._shifted(self._encoded(packet))
        except av.FFmpegError as error:
            raise InputError(
                f"{self._video.path}: its sound cannot be read ({reason(error)}): replace the file"
            ) from error

    def _encoded(self, packet: Packet[AudioStream]) -> Iterator[Packet[AudioStream]]:
        try:
            frames = list(packet.decode())
        except av.FFmpegError:
            return  # a player skips what is damaged, too
        for frame in frames:
            for part in self._resampler.resample(frame):
                yield from self._stream.encode(part)
        if not packet.size:  # the end
            for part in self._resampler.resample(None):
                yield from self._stream.encode(part)
            yield from self._stream.encode(None)

    def _shifted(
        self, packets: Iterator[Packet[AudioStream]] | list[Packet[AudioStream]]
    ) -> Iterator[Packet[AudioStream]]:
        for packet in packets:
            if packet.pts is None or packet.dts is None or packet.time_base is None:
                continue
            ahead = round(self._video.origin * self._video.tick / packet.time_base)
            packet.pts, packet.dts = packet.pts - ahead, packet.dts - ahead
            packet.stream = self._stream
            if self._last is not None and packet.dts <= self._last:
                continue  # times start again where recordings are joined
            self._last = packet.dts
            yield packet


@contextmanager
def sound_of(path: Path, output: OutputContainer, report: Callable[[str], None]) -> Iterator[Callable[[float], None]]:
    """Return a function that writes the sound of a video into another file, up to a second of the video.

    Args:
        path: the video.
        output: the other file, an mp4.
        report: function that is called with a sentence if there is sound that cannot be taken over.

    Raises:
        InputError: it is not a video that can be read.
    """
    with open_video(path) as video:
        streams = list(video.container.streams.audio)
        known = [stream for stream in streams if stream.codec_context is not None]
        if not known:
            if streams:
                report("its sound has a codec that is not supported: the annotated video has none")
            yield lambda _: None
            return
        stream = next((each for each in known if each.disposition & Disposition.default), known[0])
        video.stream.discard, stream.discard = Discard.all, Discard.default
        yield Sound(video, stream, output).write_until


def _begin(packet: Packet[AudioStream]) -> float:
    return float((packet.pts or 0) * packet.time_base)
