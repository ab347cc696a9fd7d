"""Check weights wherever they come from: plain tensors of finite numbers, in files that are as large as they say."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from peclip.errors import InputError

MOST_NAMES = 4
"""Largest number of names of one tensor in a file: the authors' program saves some of them under several names."""

PRECISIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_weights(weights: Mapping[str, Tensor], source: str) -> None:
    """Check that weights are floating-point numbers that stay finite in fp32, in which a model computes.

    A model with another weight gives NaN for every clip, and then answers with its first label.

    Args:
        weights: tensors by name.
        source: file of the weights, for messages.

    Raises:
        InputError: one is something else; the message names it.
    """
    for name, value in weights.items():
        if not _is_of_numbers(value):
            kind = f"{value.dtype}, {value.layout}".replace("torch.", "")
            raise InputError(f"{source}: {name} is a tensor of another kind ({kind}), expected floating-point numbers")
        if not value.is_meta and not _is_finite(value.detach().float()):
            raise InputError(
                f"{source}: {name} has a value that is not finite, so every answer would be NaN: use another file; peclip "
                "itself writes none with such a value"
            )


def check_kept(state: Mapping[str, Tensor]) -> None:
    """Check, when a model is built, that checkpoints will hold its parts; the first one is written after hours of training.

    Args:
        state: tensors of the parts by name.

    Raises:
        InputError: one is not of floating-point numbers, such as an index in a buffer; the message names it.
    """
    for name, value in state.items():
        if not _is_of_numbers(value):
            part, _, own = name.rpartition(".")
            kind = str(value.dtype if value.layout == torch.strided else value.layout).removeprefix("torch.")
            raise InputError(
                f"{part} has a buffer {own!r} of {kind}, which no checkpoint holds: register it with persistent=False, or "
                "use a layer without it"
            )


def check_archive(path: Path) -> None:
    """Check that a file of PyTorch holds no more bytes than it has: PyTorch never compresses its entries.

    Files that are not zip archives pass.

    Raises:
        InputError: an entry is compressed, or the entries are larger than the file.
        zipfile.BadZipFile: the archive is damaged.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as file:
        entries = file.infolist()
    if packed := [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]:
        raise InputError(f"{path}: refused, its entry {packed[0]!r} is compressed, which no checkpoint of PyTorch is")
    _check_size(path, sum(entry.file_size for entry in entries), 1)


def check_stored(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Check that tensors read from a file have no more elements than it holds.

    A few bytes can be the storage of a tensor of any shape, and of any number of tensors.

    Args:
        path: path of the file.
        tensors: tensors by name.

    Raises:
        InputError: they have more, or one is not stored at all.
    """
    for name, value in tensors.items():
        if (
            value.is_meta
            or value.is_nested
            or value.is_quantized
            or value.is_complex()
            or value.layout != torch.strided
        ):
            raise InputError(f"{path}: refused, {name} is not a plain tensor")
    _check_size(path, sum(value.numel() * value.element_size() for value in tensors.values()), MOST_NAMES)


def _check_size(path: Path, size: int, most: int) -> None:
    """Check that the content of a file has at most ``most`` times as many bytes as the file itself."""
    held = path.stat().st_size
    if size > most * held:
        raise InputError(f"{path}: refused, it says that it holds {size:,} bytes, but has {held:,}")


def _is_of_numbers(value: Tensor) -> bool:
    return value.layout == torch.strided and value.dtype in PRECISIONS


def _is_finite(value: Tensor) -> bool:
    """Return whether all values are finite: their sum shows it ten times faster than a look at each, unless it overflows."""
    return bool(value.sum().isfinite()) or bool(value.isfinite().all())
