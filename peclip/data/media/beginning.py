"""Tell damage from the beginning of a video that was cut out of a longer one.

A cut between two closed groups of pictures begins with a picture that needs no other. An open group begins with pictures that are
shown before its keyframe and refer to what was cut off; a recording may begin anywhere. FFmpeg shows none of those. The rest is
whole, although a strict decoder of H.264 complains: pictures also name the ones that need not be kept any longer, and some of
those were cut off.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from peclip.data.media.container import LENIENT, STRICT, Video

_IDR = 5  # type of the unit of H.264 that needs no other picture, and behind which none refers to what was before


def lost_after_a_cut(video: Video, packets: Sequence[Packet[VideoStream]], failed: Iterable[int]) -> set[int]:
    """Return which of the packets that a strict decoder failed at are pictures that are lost.

    Args:
        video: of the packets.
        packets: the first ones of the video, in decoding order. Their `opaque` is their number.
        failed: numbers of those that the decoder failed at.
    """
    keyframe = next((number for number, packet in enumerate(packets) if packet.is_keyframe), len(packets))
    is_open = video.stream.codec_context.name == "h264" and not (
        keyframe < len(packets) and _IDR in _units(bytes(packets[keyframe]), video.stream.codec_context.extradata)
    )
    candidates = {number for number in failed if number < keyframe or is_open}
    lost = set(failed) - candidates
    if candidates:
        shown, undecodable = _decode(video, packets, LENIENT)
        strictly, _ = _decode(video, packets, STRICT)
        for number in candidates:
            if number in shown:
                is_lost = strictly.get(number) != shown[number]
            else:
                is_lost = number in undecodable and not _leads(packets, number, keyframe)
            lost |= {number} if is_lost else set()
    return lost


def _leads(packets: Sequence[Packet[VideoStream]], number: int, keyframe: int) -> bool:
    """Return whether a packet is decoded or shown before the first keyframe."""
    if number < keyframe:
        return True
    time, begin = packets[number].pts, packets[keyframe].pts
    return time is not None and begin is not None and time < begin


def _decode(
    video: Video, packets: Sequence[Packet[VideoStream]], options: dict[str, str]
) -> tuple[dict[int, bytes], set[int]]:
    """Decode packets in a decoder of their own.

    Returns:
        a digest of each picture that is shown, by the number of its packet; the numbers of packets that cannot be decoded.
    """
    original = video.stream.codec_context
    context = VideoCodecContext.create(original.name, "r")
    context.extradata, context.options = original.extradata, options
    context.thread_count, context.copy_opaque = 1, True
    shown, undecodable = {}, set()
    for packet in (*packets, None):
        try:
            for frame in context.decode(packet):
                shown[frame.opaque] = blake2b(frame.to_ndarray().tobytes()).digest()
        except av.FFmpegError:
            undecodable |= set() if packet is None else {packet.opaque}
    return shown, undecodable


def _units(data: bytes, extradata: bytes | None) -> set[int]:
    """Return the types of the units of an H.264 packet, which have start codes or, as in MP4, their lengths before them."""
    if not extradata or extradata[0] != 1:
        return {data[found.end()] & 31 for found in re.finditer(rb"\x00\x00\x01(?=.)", data, re.DOTALL)}
    width, place, types = (extradata[4] & 3) + 1, 0, set()
    while place + width < len(data):
        types.add(data[place + width] & 31)
        place += width + int.from_bytes(data[place : place + width])
    return types
