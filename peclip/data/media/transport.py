"""Find where two MPEG transport streams were joined, as ``cat a.ts b.ts`` does.

FFmpeg marks the last frames before a joint as damaged, because the counters of the packets start again. They are whole if no
counter skips within a frame, and all programs start again between two frames.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from peclip.files import open_regular

# Size of a packet, and place of its first byte: after a time stamp, or before a checksum.
_SIZES = ((188, 0), (192, 4), (204, 0))
_BEFORE, _BEHIND = 2**20, 2**23  # bytes that are searched
_CLOCK = 90_000  # ticks a second of the times in the stream


class _Packets(NamedTuple):
    """Packets of a transport stream.

    Attributes:
        heads: (N, 188) uint8, their bytes.
        stream: (N,) number of the stream to which each belongs.
        counter: (N,) 0 to 15.
        starts: (N,) whether a frame or a table begins with it.
        counted: (N,) whether it has a content, and so a counter of its own.
    """

    heads: np.ndarray
    stream: np.ndarray
    counter: np.ndarray
    starts: np.ndarray
    counted: np.ndarray


def joint_behind(path: Path, position: int) -> int | None:
    """Return where the next part begins, if the first gap behind a frame is a joint rather than damage.

    Args:
        path: an MPEG transport stream.
        position: byte of the file at which the frame begins.

    Returns:
        position of the first frame of the next part; None if something is missing.
    """
    first = max(0, position - _BEFORE)
    with open_regular(path) as file:
        file.seek(first)
        data = np.frombuffer(file.read(position - first + _BEHIND), np.uint8)
    for size, head in _SIZES:
        phase = (position - first) % size
        for offset in {(phase + head) % size, phase}:
            packets = _split(data[offset:], size)
            if packets is not None:
                begin = (position - first - offset) // size
                found = _joint(packets, max(0, begin))
                return None if found is None else first + offset + found * size - head
    return None


def _split(data: np.ndarray, size: int) -> _Packets | None:
    """Split bytes into packets, or return None if they do not begin with one or are of another size."""
    count = len(data) // size
    heads = data[: count * size].reshape(count, size)[:, :188]
    if count < 2 or not (heads[:, 0] == 0x47).all():
        return None
    stream = (heads[:, 1].astype(int) & 0x1F) << 8 | heads[:, 2]
    return _Packets(heads, stream, heads[:, 3] & 15, (heads[:, 1] & 0x40) > 0, (heads[:, 3] & 0x10) > 0)


def _joint(packets: _Packets, begin: int) -> int | None:
    """Return the packet of the video with which another part begins, if that is what its first gap from `begin` on means."""
    video = packets.stream[begin]
    own = np.flatnonzero((packets.stream == video) & packets.counted)
    own = own[own >= begin]
    gaps = np.flatnonzero(np.diff(packets.counter[own].astype(int)) % 16 != 1)
    if not len(gaps):
        return None
    last, following = own[gaps[0]], own[gaps[0] + 1]
    errors = packets.heads[own[: gaps[0] + 2], 1] & 0x80
    if errors.any() or not packets.starts[following]:
        return None
    between = packets.stream[last + 1 : following]
    if 0 not in between:  # the table with which every stream begins
        return None
    is_joint = any(_starts_again(packets, int(stream), last) for stream in np.unique(between)) or _jumps(
        packets, own[: gaps[0] + 1], following
    )
    return int(following) if is_joint else None


def _starts_again(packets: _Packets, stream: int, last: int) -> bool:
    """Return whether the counter of another stream skips behind a packet, too."""
    places = np.flatnonzero((packets.stream == stream) & packets.counted)
    here = int(np.searchsorted(places, last))
    if not 0 < here < len(places):
        return False
    step = int(packets.counter[places[here]]) - int(packets.counter[places[here - 1]])
    return step % 16 != 1


def _jumps(packets: _Packets, before: np.ndarray, following: int) -> bool:
    """Return whether the time of a frame is far from that of the frame before it."""
    starts = before[packets.starts[before]]
    times = [_time(packets.heads[place]) for place in (*starts[-1:], following)]
    if len(times) < 2 or times[0] is None or times[1] is None:
        return False
    return not -_CLOCK // 10 <= times[1] - times[0] <= 3600 * _CLOCK


def _time(packet: np.ndarray) -> int | None:
    """Return the presentation time in the header of a frame, in ticks of 1 / 90,000 s."""
    begin = 4 + (1 + int(packet[4]) if packet[3] & 0x20 else 0)
    head = packet[begin : begin + 14].tolist()
    if len(head) < 14 or head[:3] != [0, 0, 1] or not head[7] & 0x80:
        return None
    return (head[9] & 14) << 29 | head[10] << 22 | (head[11] & 254) << 14 | head[12] << 7 | head[13] >> 1
