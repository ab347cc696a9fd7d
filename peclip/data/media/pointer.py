"""Recognize pointers of Git LFS: short texts that a clone has in the place of large files until they are fetched."""

from pathlib import Path

from peclip.errors import InputError
from peclip.files import open_regular

_HEAD = b"version https://git-lfs"


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
                data = file.read(len(_HEAD))
        except OSError:  # the caller has an error for that
            return
    if data.startswith(_HEAD):
        raise InputError(
            f"{path}: is a pointer of Git LFS, not the file itself: fetch it with git lfs pull, or for CREMA-D with peclip "
            "download cremad"
        )
