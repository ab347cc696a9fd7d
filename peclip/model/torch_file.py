"""Read PyTorch files from a stranger without running anything that they pickle."""

import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from peclip.errors import InputError, first_line
from peclip.files import check_regular, is_not
from peclip.model.weights import check_archive, check_stored

TORN = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""Exceptions of reading bytes that are not a checkpoint, or a damaged or forged one."""


BEFORE_ZIP = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
"""Beginning of every file that PyTorch before 1.6 has saved: a number, pickled."""

WRAPPERS = ("state_dict", "model")
"""Entries of a checkpoint that may hold the tensors."""

MOST_VALUES, DEPTH = 2_000_000, 20
"""Limits of the settings in a checkpoint; token ids of 10,000 classes are 770,000 numbers, three levels deep."""


def read_tensors(path: Path, expected: str = "a released PE-CLIP checkpoint (.pth)") -> dict[str, Tensor]:
    """Return the state dict of a ``.pth`` file without running anything that it pickles.

    Classes foreign to PyTorch become inert stand-ins and are dropped.

    Args:
        path: path of the file.
        expected: description of the file that is expected, for messages.

    Raises:
        InputError: the file is missing, is not a checkpoint, is compressed, or tries to call a function of the system.
    """
    if not path.is_file():
        advice = ": peclip export makes a package of a run" if path.is_dir() else ""
        raise InputError(f"{path}: {is_not(path, 'file')}, expected {expected}{advice}")
    if path.suffix.lower() == ".onnx":
        raise InputError(
            f"{path}: is an ONNX file, which other programs run: name the run or package that it was made of"
        )
    with _refused(f"{path}: refused, not a checkpoint whose tensors can be read safely"):
        check_archive(path)
        _check_beginning(path)
        foreign = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        stand_ins = [(_stand_in(name), name) for name in foreign]
        with torch.serialization.safe_globals(stand_ins):  # type: ignore[arg-type]
            content = torch.load(path, map_location="cpu", weights_only=True)
    state = content if isinstance(content, dict) else {}
    state = next((state[wrapper] for wrapper in WRAPPERS if isinstance(state.get(wrapper), dict)), state)
    items = state.items() if isinstance(state, dict) else ()
    tensors = {name: value for name, value in items if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        raise InputError(f"{path}: holds no state_dict of tensors, expected {expected}")
    check_stored(path, tensors)
    return tensors


def _check_beginning(path: Path) -> None:
    """Refuse an incomplete zip archive, and the format of PyTorch before 1.6, both recognized by their first bytes.

    Raises:
        ValueError: it is cut off, or of a PyTorch before 1.6.
    """
    with path.open("rb") as file:
        first = file.read(len(BEFORE_ZIP))
    if first == BEFORE_ZIP:
        raise ValueError("it is in the format of PyTorch before 1.6: load it with a newer one, and save it again")
    if first.startswith(b"PK") and not zipfile.is_zipfile(path):
        raise ValueError("it is cut off or damaged: copy it again")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint of peclip, which holds only plain data and tensors.

    Raises:
        InputError: the file is damaged, compressed, or pickles anything else.
    """
    check_regular(path)
    with _refused(f"{path}: refused, damaged or not a checkpoint that can be read safely", "; use another checkpoint"):
        check_archive(path)
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()  # PyTorch writes checksums but does not check them
        if damaged:
            raise InputError(
                f"{path} is corrupt: the checksum of its entry {damaged!r} is wrong; use another checkpoint"
            )
        content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        return {}
    state = content.get("state_dict")
    items = state.items() if isinstance(state, dict) else ()
    check_stored(path, {str(name): value for name, value in items if isinstance(value, Tensor)})
    return content


@contextmanager
def _refused(what: str, advice: str = "") -> Iterator[None]:
    """Convert failures to read a file's bytes to one line that begins with ``what``."""
    try:
        yield
    except InputError:
        raise
    except TORN as error:
        raise InputError(f"{what}: {_reason(error)}{advice}") from error


def check_plain(value: Any, source: str) -> None:
    """Check that plain data of a pickle are small: a list may hold another one many times, and so on, in a few bytes.

    Args:
        value: the data.
        source: file of the data, for messages.

    Raises:
        InputError: they hold more than :data:`MOST_VALUES` values, are nested deeper than :data:`DEPTH`, or hold a number of
            more than 63 bits.
    """
    count, level = 0, [value]
    for _ in range(DEPTH):
        further: list[Any] = []
        for item in level:
            if isinstance(item, dict | list | tuple):
                further += [*item, *item.values()] if isinstance(item, dict) else item
            elif isinstance(item, int) and abs(item) >= 2**63:
                raise InputError(f"{source}: its settings hold a number of more than 63 bits")
            if len(further) + count > MOST_VALUES:
                raise InputError(f"{source}: its settings hold more than {MOST_VALUES:,} values")
        count, level = count + len(further), further
        if not level:
            return
    raise InputError(f"{source}: its settings are nested deeper than {DEPTH} levels")


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
        message = found[1]
    lines = [line for line in message.splitlines() if line.strip() and "weights_only" not in line]
    return first_line(RuntimeError(lines[0])) if lines else type(error).__name__
