"""Find the device that a command names."""

from collections.abc import Collection
from contextlib import suppress

import torch

from peclip.errors import InputError

KINDS = ("cpu", "cuda", "mps")
"""Devices on which a model computes."""


def find_device(name: str, kinds: Collection[str] = KINDS) -> torch.device:
    """Return a device by its name, or by ``auto`` the first GPU that CUDA finds, else the CPU.

    Args:
        name: such as ``cpu``, ``cuda``, ``cuda:1`` or ``auto``.
        kinds: that are accepted.

    Raises:
        InputError: there is no such device here.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    wanted = ("cuda" if gpus else "cpu") if name == "auto" else name
    with suppress(RuntimeError, AssertionError, NotImplementedError):
        if (device := torch.empty(0, device=wanted).device).type in kinds:  # a GPU with its number
            return device
    here = ["cpu", *(f"cuda:{gpu}" for gpu in range(gpus)), *(["mps"] if torch.backends.mps.is_available() else [])]
    available = [each for each in here if each.partition(":")[0] in kinds]
    raise InputError(f"device is {name!r}, expected auto or a device of this machine: {', '.join(available)}", "device")
