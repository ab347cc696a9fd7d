"""Limits on the work that a file can cause, so that a small one cannot keep a process busy for hours."""

from __future__ import annotations

import re
from pathlib import Path
from time import thread_time

from peclip.errors import InputError

CLIP_PIXELS = 40_000_000_000
"""Pixels that are decoded for one clip at most: 13 minutes in 1920x1080 at 25 frames/s, 87 in 640x480."""

CLIP_SECONDS = 300.0
"""Seconds for which the processor works on one clip at most. Waiting for a disk does not count."""

BYTE_PIXELS, ALLOWANCE = 300_000, 1_000_000_000
"""Pixels that one byte of a file may decode to, on average, beyond an allowance. A film in 3840x2160 of which nothing moves has
30,000 to 85,000; an animation whose frames change one pixel of a large screen has more."""

MOST_SCANS = 50
"""Scans of a JPEG, in each of which all of it is decoded again. Encoders make about 10, the most thorough ones below 30."""

IN_UNITS = ("h264", "hevc")
"""Codecs that consist of NAL units, and the formats of their raw streams."""

MOST_UNITS = 10_000
"""NAL units of a packet of these codecs. Each takes some bytes of the file, and 4 kB of its decoder; a frame has some hundreds at most."""

_EVERY = 16  # calls between two looks at the clock, which take longer than all the rest

_SCAN = b"\xff\xda"
# Of a segment; decoders continue behind all other markers in compressed data.
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
_BEGIN, _END = b"\xd8", b"\xd9"  # markers without a length


class Budget:
    """Counts what is decoded of a file.

    Args:
        path: the file, for messages.
        is_clip: whether it is read as one clip. A video that is watched may be of any length.
    """

    def __init__(self, path: Path | str, *, is_clip: bool) -> None:
        self._path, self._is_clip = path, is_clip
        self._pixels = self._bytes = self._calls = 0
        self._begin = thread_time()

    def spend(self, pixels: int, size: int) -> None:
        """Count what is about to be decoded.

        Args:
            pixels: number of pixels of the picture.
            size: bytes of the picture in the file.

        Raises:
            InputError: a limit is exceeded.
        """
        self._pixels += pixels
        self._bytes += size
        if self._pixels > ALLOWANCE + BYTE_PIXELS * self._bytes:
            raise InputError(
                f"{self._path}: its frames have more than {BYTE_PIXELS:,} pixels per byte, which "
                "no film has: re-encode it at the size of its content"
            )
        if not self._is_clip:
            return
        if self._pixels > CLIP_PIXELS:
            raise self._too_long(f"more than {CLIP_PIXELS:,} pixels would have to be decoded")
        self._calls += 1
        if self._calls % _EVERY == 0 and thread_time() - self._begin > CLIP_SECONDS:
            raise self._too_long(f"the processor needs more than {CLIP_SECONDS:.0f} s for it")

    def _too_long(self, why: str) -> InputError:
        return InputError(f"{self._path}: too much for one clip, {why}: cut it, scale it down or re-encode it")


def check_scans(path: Path | str, jpeg: bytes | memoryview, *, is_picture: bool = False) -> int:
    """Return the number of scans of a JPEG.

    Args:
        path: the file, for messages.
        jpeg: bytes of the file.
        is_picture: whether it ends where its picture does, and its metadata are skipped, as Pillow reads it: phones append films
            to their photos. A decoder of video may read beyond the end; then everything that could be a scan counts.

    Raises:
        InputError: there are more than :data:`MOST_SCANS`.
    """
    scans = bytes(jpeg).count(_SCAN)
    if is_picture and scans > 1:
        scans = _scans_of_picture(bytes(jpeg))
    if scans > MOST_SCANS:
        raise InputError(f"{path}: a JPEG of {scans:,} scans, more than the limit of {MOST_SCANS}: save it again")
    return max(scans, 1)


def check_units(path: Path | str, data: bytes, codec: str, header: bytes) -> None:
    """Check how many NAL units a packet has.

    Args:
        path: the file, for messages.
        data: the packet.
        codec: one of :data:`IN_UNITS`.
        header: header of the stream; it says how many bytes the length before each unit has, if start codes do not separate them.

    Raises:
        InputError: there are more than :data:`MOST_UNITS`.
    """
    if len(data) <= 4 * MOST_UNITS:  # so are all frames of most videos, which need no search
        return
    units, place = data.count(b"\0\0\1"), 0
    at = 4 if codec == "h264" else 21
    if header[:1] == b"\1" and len(header) > at:
        size = (header[at] & 3) + 1
        while place < len(data) and units <= MOST_UNITS:
            place += size + int.from_bytes(data[place : place + size])
            units += 1
    if units > MOST_UNITS:
        raise InputError(
            f"{path}: a frame of more than {MOST_UNITS:,} NAL units, which no encoder writes: re-encode it"
        )


def _scans_of_picture(jpeg: bytes) -> int:
    """Count the scans from the beginning of a JPEG to its end, segment by segment."""
    scans, place = 0, 0
    while (found := _MARKER.search(jpeg, place)) and found[0][-1:] != _END:
        place = found.end()
        if found[0][-1:] != _BEGIN:
            scans += found[0].endswith(_SCAN)
            place += int.from_bytes(jpeg[place : place + 2])
    return scans
