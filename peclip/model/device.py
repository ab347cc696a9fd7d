"""The device that a model computes on: found by its name, the precision it computes in, and how a CPU allocates memory."""

import ctypes
import platform
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, get_args

import torch

from peclip.errors import InputError, first_line

KINDS = ("cpu", "cuda", "mps")
"""Devices on which a model computes."""

Precision = Literal["bf16-mixed", "32-true"]
"""Products in bf16 and everything else in fp32, or everything in fp32; the names are Lightning's."""

WITH_LIGHTNING: tuple[str, ...] = (*get_args(Precision), "16-mixed")
"""Precisions in which Lightning may train and evaluate a model: its weights stay in fp32, as an optimizer needs them."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of mallopt(3)."""

LARGEST = 2**31 - 1
"""Bytes; mallopt accepts an int."""


def find_device(name: str, kinds: Collection[str] = KINDS) -> torch.device:
    """Return a device by its name, or by ``auto`` the first GPU that CUDA finds, else the CPU.

    Args:
        name: such as ``cpu``, ``cuda``, ``cuda:1`` or ``auto``.
        kinds: kinds of devices that are accepted.

    Raises:
        InputError: there is no such device here, or it cannot be used, with the reason.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    wanted = ("cuda" if gpus else "cpu") if name == "auto" else name
    here = ["cpu", *(f"cuda:{gpu}" for gpu in range(gpus)), *(["mps"] if torch.backends.mps.is_available() else [])]
    available = [each for each in here if each.partition(":")[0] in kinds]
    try:
        if (device := torch.empty(0, device=wanted).device).type in kinds:  # a GPU with its number
            return device
    except (
        RuntimeError,
        AssertionError,
        NotImplementedError,
    ) as error:  # torch has each for devices that are not there
        if wanted in available or f"{wanted}:0" in available:
            raise InputError(f"device {wanted} cannot be used: {first_line(error)}", "device") from error
    raise InputError(f"device is {name!r}, expected auto or a device of this machine: {', '.join(available)}", "device")


def check_precision(precision: str, frozen: str, residual: str = "fp32") -> None:
    """Check the precision of one of Lightning's trainers.

    Args:
        precision: precision of the trainer, in Lightning's words.
        frozen: precision of the frozen weights, ``fp32`` or ``bf16``.
        residual: precision of the tokens between the vision blocks, ``fp32`` or ``bf16``.

    Raises:
        InputError: the model does not compute in it, or what is held in bf16 does not fit it.
    """
    if precision not in WITH_LIGHTNING:
        raise InputError(
            f"trainer.precision is {precision}, expected {' or '.join(WITH_LIGHTNING)}: what is trained stays in fp32"
        )
    for name, held in (("frozen", frozen), ("residual", residual)):
        if held == "bf16" and precision != "bf16-mixed":
            raise InputError(f"{name} is bf16, but trainer.precision is {precision}: set it to bf16-mixed", name)


def best_precision(accelerator: Any) -> Precision:
    """Return ``bf16-mixed`` if the device multiplies bf16 matrices in hardware, else ``32-true``.

    Args:
        accelerator: ``cpu``, or any other name for a GPU if there is one.
    """
    if accelerator != "cpu" and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    return "bf16-mixed" if _cpu_multiplies_bf16() else "32-true"


def _cpu_multiplies_bf16() -> bool:
    """Return whether this CPU has units for bf16. oneDNN also accepts AVX-512 without them, and is then slower than in fp32."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """Return the precision of autocast on a device; None if it is off, or the device has none, as meta."""
    is_on = torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)
    return torch.get_autocast_dtype(device.type) if is_on else None


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context that disables autocast; a null context if it is already off, because an exported graph would record it."""
    return torch.autocast(device.type, enabled=False) if autocast_dtype(device) else nullcontext()


def computed_in(precision: str, device: torch.device) -> torch.autocast:
    """Return the context within which a model on a device computes in a precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed")


def keep_freed_memory() -> None:
    """Make glibc keep the memory that a step or a clip frees for the next one; other C libraries are not changed.

    By default it returns tensors of more than 32 MB to the system at once, which provides the next ones page by page, each
    cleared and entered into the page table again: with 4 clips of ViT-B/16 a quarter of the step, and a fifth of an answer.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST)
        mallopt(M_TRIM_THRESHOLD, LARGEST)
