"""Fetch a file over HTTP: resumed where it broke off, and moved to its name once its size and checksum are right."""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from peclip.errors import InputError, first_line
from peclip.files import file_errors, move

TRIES, PAUSE, TIMEOUT = 5, 2.0, 60.0
"""Attempts in a row without a byte after which a download fails, seconds between them, and seconds after which one gives up."""

AGAIN = "run the same command again: it resumes"

_PIECE = 1 << 20
_LARGEST_TEXT = 50_000_000  # bytes of a list of files


@dataclass(frozen=True)
class Remote:
    """A file at an address.

    Attributes:
        address: URL of the file.
        size: size in bytes.
        algorithm: algorithm of the checksum, md5 or sha256.
        checksum: checksum in hexadecimal digits.
    """

    address: str
    size: int
    algorithm: str
    checksum: str


def fetch(remote: Remote, target: Path, arrived: Callable[[int], None] = lambda _: None) -> None:
    """Fetch a file; what an earlier attempt has left of it is kept.

    Args:
        remote: the file.
        target: path of the file; until it is complete and has been checked, its content is in ``.NAME.part`` beside it.
        arrived: function that is called with the number of bytes whenever some have arrived.

    Raises:
        InputError: the server does not give it, the connection breaks off again and again, it cannot be written, or it is not
            the file that its checksum belongs to.
    """
    part = target.with_name(f".{target.name}.part")
    with file_errors():
        target.parent.mkdir(parents=True, exist_ok=True)
        if part.exists() and part.stat().st_size > remote.size:
            part.unlink()
        failed, have = 0, part.stat().st_size if part.exists() else 0
        arrived(have)
        while have < remote.size:
            before = have
            try:
                have = _continue(remote, part, have, arrived)
            except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
                have = part.stat().st_size if part.exists() else 0
                failed = 0 if have > before else failed + 1
                if failed == TRIES or (
                    isinstance(error, urllib.error.HTTPError) and error.code in (401, 403, 404, 410)
                ):
                    raise InputError(f"{remote.address}: cannot be fetched ({first_line(error)}); {AGAIN}") from error
                time.sleep(PAUSE)
        if not is_file_of(remote, part):
            part.unlink()
            raise InputError(f"{remote.address}: is not the file of its {remote.algorithm} checksum; {AGAIN}")
        move(part, target)


def is_file_of(remote: Remote, path: Path) -> bool:
    """Return whether a file here has the size and the checksum of a remote one."""
    return path.stat().st_size == remote.size and _checksum(path, remote.algorithm) == remote.checksum


def fetch_text(address: str) -> str:
    """Return a text at an address.

    Raises:
        InputError: it cannot be fetched, or is not a text.
    """
    for attempt in range(1, TRIES + 1):
        try:
            with urllib.request.urlopen(address, timeout=TIMEOUT) as answer:
                return str(answer.read(_LARGEST_TEXT).decode("utf-8"))
        except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
            if attempt == TRIES or isinstance(error, UnicodeDecodeError) or getattr(error, "code", 0) == 404:
                raise InputError(f"{address}: cannot be fetched ({first_line(error)}); {AGAIN}") from error
            time.sleep(PAUSE)
    raise AssertionError("the last attempt raises")


def _continue(remote: Remote, part: Path, have: int, arrived: Callable[[int], None]) -> int:
    """Fetch a file from byte ``have`` on, and return the number of bytes that are here then."""
    request = urllib.request.Request(remote.address, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        if have and answer.status != 206:  # the server sends it from the start
            arrived(-have)
            have = 0
        with part.open("ab" if have else "wb") as file:
            while have < remote.size and (piece := _read(answer, min(_PIECE, remote.size - have))):
                file.write(piece)
                have += len(piece)
                arrived(len(piece))
    if have < remote.size:
        raise ConnectionError(f"the connection broke off after {have:,} of {remote.size:,} bytes")
    return have


def _read(answer: http.client.HTTPResponse, most: int) -> bytes:
    """Return the next bytes; errors of the network, unlike those of the disk, become a ConnectionError."""
    try:
        return answer.read(most)
    except OSError as error:  # an error of TLS, or of the connection to the server
        raise ConnectionError(f"the connection broke off ({first_line(error)})") from error


def _checksum(path: Path, algorithm: str) -> str:
    total = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            total.update(piece)
    return total.hexdigest()
