"""Find the device that a command names."""

from collections.abc import Collection

import torch

from peclip.errors import InputError, first_line

KINDS = ("cpu", "cuda", "mps")
"""Devices on which a model computes."""


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
