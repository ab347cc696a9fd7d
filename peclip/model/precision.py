"""Precision that a device computes in."""

import platform
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, get_args

import torch

from peclip.errors import InputError

Precision = Literal["bf16-mixed", "32-true"]
"""Products in bf16 and everything else in fp32, or everything in fp32; the names are Lightning's."""

WITH_LIGHTNING: tuple[str, ...] = (*get_args(Precision), "16-mixed")
"""Precisions in which Lightning may train and evaluate a model: its weights stay in fp32, as an optimizer needs them."""


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
