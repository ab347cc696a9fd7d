"""Detect files that are incomplete: videos without their end, and pointers of Git LFS.

A pointer is the short text that a clone has in the place of a large file until it is fetched. FFmpeg reads a video without its end
as a shorter one; frames chosen from it would be other frames than those of the whole video, so the sizes that the container
declares are compared with what is there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from peclip.errors import InputError
from peclip.files import open_regular

_SEGMENT = b"\x18\x53\x80\x67"  # the element of Matroska that holds all others

_POINTER = b"version https://git-lfs"


def is_truncated(path: Path, container: str) -> bool:
    """Return whether a file ends before its container says.

    Args:
        path: a regular file.
        container: FFmpeg's name of its container. One that declares no sizes, as MPEG program streams, is never
            found to be cut.
    """
    check = {"mov": _mp4, "matroska": _matroska, "avi": _avi, "flv": _flv, "mpegts": _mpegts}.get(
        container.partition(",")[0]
    )
    if check is None:
        return False
    with open_regular(path) as file:
        return check(file, os.fstat(file.fileno()).st_size)


def check_pointer(path: Path | str, data: bytes | None = None) -> None:
    """Refuse a pointer of Git LFS; call it if a file cannot be read, to say why.

    Args:
        path: the file.
        data: bytes of the file, if they have been read.

    Raises:
        InputError: it is one.
    """
    if data is None:
        try:
            with open_regular(path) as file:
                data = file.read(len(_POINTER))
        except OSError:  # the caller has an error for that
            return
    if data.startswith(_POINTER):
        raise InputError(
            f"{path}: is a pointer of Git LFS, not the file itself: fetch it with git lfs pull, or for CREMA-D with peclip "
            "download cremad"
        )


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _mp4(file: BinaryIO, length: int) -> bool:
    """Follow the boxes; a file may end in junk, but not within a box that holds frames or their index."""
    position, fragments = 0, False
    while position + 8 <= length:
        file.seek(position)
        head = file.read(16)
        size = _number(head[:4])
        if size == 1:
            size = _number(head[8:16])
        if size < 8:  # 0: until the end of the file
            return False
        position += size
        if position > length:
            return head[4:8] in (b"mdat", b"moof", b"moov")
        fragments |= head[4:8] == b"moof"
    return fragments and position < length  # the head of another fragment


def _avi(file: BinaryIO, length: int) -> bool:
    """Follow the RIFF chunks, of which a large file has several; a size of 0 was never filled in."""
    position = 0
    while position + 12 <= length:
        file.seek(position)
        head = file.read(12)
        size = int.from_bytes(head[4:8], "little")
        if head[:4] != b"RIFF" or size == 0:
            return False
        position += 8 + size + size % 2
    return position > length + 16  # some writers count their own header, or omit padding


def _flv(file: BinaryIO, length: int) -> bool:
    """Look back from the end: the last number is the size of the tag before it. Where it is not, follow all tags."""
    file.seek(max(0, length - 4))
    size = _number(file.read(4))
    if 11 <= size <= length - 13:
        file.seek(length - 4 - size)
        if _number(file.read(4)[1:]) == size - 11:
            return False
    position = 13
    while position + 11 <= length:
        file.seek(position)
        head = file.read(4)
        if head[0] & 0x1F not in (8, 9, 18):  # neither sound, picture nor data: junk at the end
            return False
        position += 11 + _number(head[1:]) + 4
    return position != length


def _mpegts(file: BinaryIO, length: int) -> bool:
    """Expect whole packets: of 188 bytes, or with a time stamp before (192) or a checksum behind (204) each."""
    head = file.read(4 * 204)
    for size, first in ((188, 0), (192, 4), (204, 0)):
        if set(head[first::size][:4]) == {ord("G")}:
            return length % size != 0
    return False


def _matroska(file: BinaryIO, length: int) -> bool:
    """Follow the elements of the segment; a live recording leaves sizes open, and is never found to be cut."""
    position, end = 0, length
    while position < end:
        file.seek(position)
        head = file.read(12)
        id_bytes = 9 - head[0].bit_length()
        if not 1 <= id_bytes <= 4 or len(head) <= id_bytes:
            return True  # this is no element: something is missing before
        size_bytes = 9 - head[id_bytes].bit_length()
        mask = (1 << 7 * size_bytes) - 1
        size = _number(head[id_bytes : id_bytes + size_bytes]) & mask
        position += id_bytes + size_bytes
        if head[:4] == _SEGMENT:
            end = length if size == mask else position + size
        elif size == mask:
            return False
        else:
            position += size
        if max(position, end) > length:
            return True
    return False
