"""Recognize errors that a user can act on among those that Lightning, torch and the system raise during a run."""

import re
from traceback import walk_tb

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from peclip.errors import InputError, in_one_line
from peclip.files import too_many_open_files

OPEN_FILES = re.compile(r"Too many open files|received \d+ items of ancdata")
"""Messages of torch when a process cannot open another file."""


PARTS = {Callback: "trainer.callbacks", Optimizer: "model.optimizer", LRScheduler: "model.lr_scheduler"}
"""Kinds of objects that are built as the options say, and the option of each."""

LIBRARIES = ("lightning.", "torch.")

OF_THE_MACHINE = (OSError, torch.OutOfMemoryError, torch.AcceleratorError)
"""Errors caused by the disk or the device, not by the code that was called."""

AUTOGRAD = "torch.autograd"
"""Module of the function that computes gradients."""

REFUSED = "Lightning refuses the options of the trainer: "

RESTORING = "lightning.pytorch.trainer.connectors.checkpoint_connector"
"""Module of Lightning that restores the state of a training."""


def as_input_error(error: Exception) -> InputError | None:
    """Return the error as one that a user can act on; None for an error of the program.

    Args:
        error: error of this process, or of a process that a strategy such as ddp_notebook started.
    """
    if isinstance(error, InputError):
        return error
    if OPEN_FILES.search(str(error)):
        return too_many_open_files()
    if isinstance(error, MisconfigurationException) or (isinstance(error, ValueError) and _raised_by_lightning(error)):
        return InputError(f"{REFUSED}{in_one_line(error)}")
    if _in_restoring(error):
        return InputError(
            f"the state of the training in the checkpoint cannot be restored: {type(error).__name__}, {in_one_line(error)}; use "
            "another checkpoint, or start from its weights with --init_from"
        )
    if failed := _failed_part(error):
        return InputError(f"{failed} does not work here: {in_one_line(error)}")
    if isinstance(error, ProcessRaisedException):
        return _of_process(str(error))
    return InputError(in_one_line(error)) if isinstance(error, ProcessExitedException) else None


def _failed_part(error: Exception) -> str:
    """Return the part of the options, of Lightning or torch, that an error comes from; empty if other code raised it."""
    if isinstance(error, OF_THE_MACHINE):
        return ""
    failed = ""
    for frame, _ in walk_tb(error.__traceback__):
        owner = frame.f_locals.get("self")
        option = next((option for kind, option in PARTS.items() if isinstance(owner, kind)), "")
        if option and type(owner).__module__.startswith(LIBRARIES):
            failed = f"{type(owner).__name__} of {option}"
        elif (
            not (name := frame.f_globals.get("__name__", "")).startswith((*LIBRARIES, "contextlib")) or name == AUTOGRAD
        ):
            failed = ""  # what the part called: an optimizer calls the whole step, with its gradient
    return failed


def _in_restoring(error: Exception) -> bool:
    """Return whether Lightning or torch failed to restore a checkpoint, because its entries are not those that they save."""
    modules = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    called = modules[modules.index(RESTORING) :] if RESTORING in modules else []
    is_theirs = bool(called) and all(name.startswith((*LIBRARIES, "packaging.")) for name in called)
    return is_theirs and not isinstance(error, OF_THE_MACHINE)


def _raised_by_lightning(error: Exception) -> bool:
    """Return whether Lightning itself raised an error, not code that it calls: it does so for options that do not fit."""
    modules = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    return bool(modules) and modules[-1].startswith("lightning.")


def _of_process(text: str) -> InputError | None:
    """Return the error in the traceback of another process as one that a user can act on."""
    *_, last = re.findall(r'^  File "(.*)", line', text, re.MULTILINE) or [""]
    for kind in (InputError, MisconfigurationException, ValueError):
        name = kind.__name__ if kind is ValueError else f"{kind.__module__}.{kind.__name__}"
        found = re.findall(rf"^{re.escape(name)}: +(.*)", text, re.MULTILINE)
        if found and kind is InputError:
            return InputError(found[-1])
        if found and (kind is MisconfigurationException or "/lightning/" in last):
            return InputError(f"{REFUSED}{found[-1]}")
    return None
