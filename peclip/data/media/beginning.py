"""Distinguish damage from the beginning of a video that was cut out of a longer one.

A closed group of pictures begins with one that needs no other. An open group has pictures that are shown before its keyframe and
refer to what was cut off; FFmpeg shows none of them. The rest is whole, although a strict decoder of H.264 fails at some of it:
pictures also name others that need not be kept any longer, and those may have been cut off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple, cast

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from peclip.data.media.container import LENIENT, STRICT, Video

_IDR = 5  # type of the unit of H.264 that needs no other picture, and behind which none refers to what was before
_HEAD = 8192  # bytes of a packet in which the first unit of its picture begins


class _Mark(NamedTuple):
    number: int


def mark(packet: Packet[VideoStream], number: int) -> None:
    """Number a packet, so that the frame decoded from it can be recognized."""
    packet.opaque = _Mark(number)  # an object of its own: PyAV mixes up those that are the same, as small numbers are


def number_of(marked: Packet[VideoStream] | VideoFrame, unknown: int) -> int:
    """Return the number of a packet or a frame, or `unknown` if the decoder does not pass it on."""
    return marked.opaque.number if isinstance(marked.opaque, _Mark) else unknown


@dataclass(frozen=True)
class Verdict:
    """Fate of the pictures at the beginning of a video.

    Attributes:
        lost: numbers of the packets whose pictures are shown, but damaged, or refer to what is missing.
        withheld: pictures that are whole, by number, and that the strict decoder does not return because it failed at the next.
    """

    lost: Collection[int]
    withheld: Mapping[int, VideoFrame] = field(default_factory=dict)


def begins_open(video: Video, keyframe: Packet[VideoStream]) -> bool:
    """Return whether pictures behind the first keyframe of a video may refer to others before it."""
    codec = video.stream.codec_context
    return codec.name == "h264" and _IDR not in _units(bytes(keyframe)[:_HEAD], codec.extradata)


def judge(
    video: Video, packets: Sequence[Packet[VideoStream]], failed: Collection[int], incomplete: Collection[int]
) -> Verdict:
    """Find out which of the packets that a strict decoder failed at are pictures that are lost.

    Args:
        video: video that the packets are of.
        packets: the first ones of a video that begins open, in decoding order, marked by :func:`mark`.
        failed: numbers of the packets that the decoder failed at.
        incomplete: numbers of the failed packets that lack some of their data.
    """
    complete = [packet for number, packet in enumerate(packets) if number not in incomplete]
    strictly = _decode(video, complete, STRICT, lambda number: False)
    shown = _decode(video, packets, LENIENT, lambda number: number not in strictly.digests)
    differ = {number for number, digest in shown.digests.items() if strictly.digests.get(number, digest) != digest}
    unknown = {number for number in failed if number in shown.digests and number not in strictly.digests}
    undecodable = {number for number in shown.failed if not _leads(packets[number], packets[0])}
    return Verdict(
        differ | unknown | (undecodable & set(failed)),
        {number: frame for number, frame in shown.frames.items() if number not in failed},
    )


def _leads(packet: Packet[VideoStream], keyframe: Packet[VideoStream]) -> bool:
    """Return whether a packet would be shown before the keyframe that opens the video."""
    return packet.pts is not None and keyframe.pts is not None and packet.pts < keyframe.pts


@dataclass(frozen=True)
class _Decoded:
    """Pictures by the number of their packet, those that were to be kept, and the packets that cannot be decoded."""

    digests: dict[int, bytes] = field(default_factory=dict)
    frames: dict[int, VideoFrame] = field(default_factory=dict)
    failed: set[int] = field(default_factory=set)


def _decode(
    video: Video, packets: Sequence[Packet[VideoStream]], options: dict[str, str], kept: Callable[[int], bool]
) -> _Decoded:
    """Decode packets in a decoder of their own."""
    original = video.stream.codec_context
    context = cast(VideoCodecContext, VideoCodecContext.create(original.name, "r"))
    context.extradata, context.options = original.extradata, options
    context.thread_count, context.copy_opaque = 1, True
    decoded = _Decoded()
    for packet in (*packets, None):
        number = -1 if packet is None else number_of(packet, 0)
        try:
            for frame in context.decode(packet):
                source = number_of(frame, number)
                decoded.digests[source] = blake2b(frame.to_ndarray().tobytes()).digest()
                if kept(source):
                    decoded.frames[source] = frame
        except av.FFmpegError:
            decoded.failed.add(number)
    return decoded


def _units(data: bytes, extradata: bytes | None) -> set[int]:
    """Return the types of the units of an H.264 packet, which have start codes or, as in MP4, their lengths before them."""
    if not extradata or extradata[0] != 1:
        return {data[found.end()] & 31 for found in re.finditer(rb"\x00\x00\x01(?=.)", data, re.DOTALL)}
    width, place, types = (extradata[4] & 3) + 1, 0, set()
    while place + width < len(data):
        types.add(data[place + width] & 31)
        place += width + int.from_bytes(data[place : place + width])
    return types
