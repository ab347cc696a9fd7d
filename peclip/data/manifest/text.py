"""Text files as people have them, in any of the common encodings and with any line ends, read as lines in UTF-8."""

import codecs
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from peclip.data.manifest.formats import cells_of, column_name, delimiter_of
from peclip.data.media.storage import is_address, read_file
from peclip.errors import InputError
from peclip.files import file_errors, open_regular

MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16, whose mark is the beginning of this one
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""Byte order marks with which files begin, and their encodings."""

KINDS = {
    b"PK\x03\x04": "an Excel workbook or another zip file: save the table as csv",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save the table as csv",
    b"PAR1": "a Parquet file: save the table as csv",
    b"\x1f\x8b": "a gzip file: unpack it",
    b"%PDF": "a PDF: save the table as csv",
}
"""Beginnings of files that are no text, and what they are."""

LONGEST_HEADER = 100_000
"""Bytes in which the header of a manifest with thousands of classes ends."""

SAMPLE = 4096
"""Bytes by which a file in UTF-16 without a mark is recognized."""


def read_bytes(path: Path | str) -> bytes:
    r"""Return the content of a text file: lines that end in ``\n`` or ``\r\n``, without a byte order mark.

    UTF-16 and UTF-32 become UTF-8; other encodings, of which no file says which it has, stay as they are.

    Raises:
        InputError: there is no such file, it cannot be read, or it is not text.
    """
    raw = read_file(path) if is_address(path) else _read_local(Path(path))
    for start, kind in KINDS.items():
        if raw.startswith(start):
            raise InputError(f"{path}: is {kind}")
    mark = next((mark for mark in MARKS if raw.startswith(mark)), b"")
    encoding = MARKS[mark] if mark else _encoding_without_mark(raw)
    raw = raw[len(mark) :]
    if encoding != "utf-8":
        try:
            raw = raw.decode(encoding).encode()
        except UnicodeError as error:
            raise InputError(f"{path}: not valid {encoding[:6].upper()} text; save the file as UTF-8") from error
    if b"\0" in raw:
        raise InputError(f"{path}: is not a text file")
    return raw if b"\n" in raw else raw.replace(b"\r", b"\n")  # lines that end in \r alone are those of old Macs


def read_utf8(path: Path | str) -> bytes:
    """Return the content of a text file in UTF-8; see :func:`read_bytes`.

    Raises:
        InputError: there is no such file, or a line of it is not UTF-8.
    """
    raw = read_bytes(path)
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path} line {line}: not UTF-8 text; save the file as UTF-8") from error
    return raw


def _read_local(path: Path) -> bytes:
    try:
        if not path.exists():
            half = "; peclip pack did not finish the shards beside it: run it again" if _has_shards(path) else ""
            raise InputError(f"{path}: no such file{half}")
        if not path.is_file():
            raise InputError(f"{path}: is a {'folder' if path.is_dir() else 'device or pipe'}, expected a text file")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # a name with a null byte is a ValueError
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _has_shards(path: Path) -> bool:
    return path.name == "manifest.csv" and any(path.parent.glob("shard-*.zip"))


def _encoding_without_mark(raw: bytes) -> str:
    """Return UTF-16 where every other byte is zero, as in the paths and labels of most lists, else UTF-8."""
    sample = raw[:SAMPLE]
    low, high = sample[0::2].count(0), sample[1::2].count(0)
    if max(low, high) * 4 < len(sample):
        return "utf-8"
    return "utf-16-be" if low > high else "utf-16-le"


def check_replaceable(path: Path | str, columns: Collection[str] | None = None) -> None:
    """Check that a manifest may be written to a path: nothing is there, or an empty file, or a manifest that says no more.

    Args:
        path: path of the new manifest.
        columns: columns of the new manifest; None before they are known.

    Raises:
        InputError: a file of something else, or what somebody has written by hand, would be lost.
    """
    begin = b""
    with file_errors(), suppress(FileNotFoundError, NotADirectoryError), open_regular(path) as file:
        begin = file.read(LONGEST_HEADER).removeprefix(codecs.BOM_UTF8)
    if not begin.strip():
        return
    header = begin.split(b"\n", 1)[0].decode(errors="replace")
    names = [
        "subject" if name == "video" else name for name in map(column_name, cells_of(header, delimiter_of(header)))
    ]
    if not {"path", "label"} <= {*names}:
        raise InputError(f"out {path} is there and is no manifest: name another file", "out")
    if lost := [name for name in names if columns is not None and name not in columns]:
        raise InputError(
            f"out {path} is a manifest with the column {lost[0]!r}, which the new one would not have: name another file",
            "out",
        )
