"""Read PyTorch files from a stranger without running anything that they pickle."""

import pickle
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from peclip.errors import InputError
from peclip.files import check_regular

TORN = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""Exceptions of reading bytes that are not a checkpoint, or a torn or forged one."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the state dict of a ``.pth`` file without running anything that it pickles.

    Classes foreign to PyTorch become inert stand-ins and are dropped.

    Raises:
        InputError: the file is missing, is not a checkpoint, or tries to call a function of the system.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected a released PE-CLIP checkpoint (.pth)")
    try:
        foreign = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        stand_ins = [(_stand_in(name), name) for name in foreign]
        with torch.serialization.safe_globals(stand_ins):  # type: ignore[arg-type]
            content = torch.load(path, map_location="cpu", weights_only=True)
    except TORN as error:
        raise InputError(
            f"{path}: refused, not a checkpoint whose tensors can be read safely: {_reason(error)}"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    items = state.items() if isinstance(state, dict) else ()
    tensors = {name: value for name, value in items if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        raise InputError(f"{path}: holds no state_dict of tensors, expected a released PE-CLIP checkpoint")
    return tensors


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint of peclip, which holds only plain data and tensors.

    Raises:
        InputError: the file is torn or corrupt, or pickles anything else.
    """
    check_regular(path)
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()  # PyTorch writes checksums but does not check them
        if damaged:
            raise InputError(
                f"{path} is corrupt: the checksum of its entry {damaged!r} is wrong; use another checkpoint"
            )
        content = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except (*TORN, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path}: refused, torn or not a checkpoint that can be read safely: {_reason(error)}; use another checkpoint"
        ) from error
    return content if isinstance(content, dict) else {}


class _Foreign:
    """Replaces a class that a checkpoint pickles: accepts anything and does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _stand_in(name: str) -> Any:
    """Return a replacement for a foreign class or function of which only the name is known."""
    if name == "collections.defaultdict":  # the only foreign class that the reader may have to put items into
        return lambda *args: {}
    return type("Foreign", (_Foreign,), {})


def _reason(error: Exception) -> str:
    """Return one line that says why a file cannot be read, without PyTorch's advice to read it unsafely."""
    message = str(error).strip()
    if found := re.search(r"WeightsUnpickler error:\s*(.+)", message):
        return found[1]
    lines = [line for line in message.splitlines() if line.strip() and "weights_only" not in line]
    return lines[0].strip() if lines else type(error).__name__
