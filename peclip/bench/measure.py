"""Measure steps: their time, their memory, their arithmetic, and the peak rate of the device.

A share of the peak is a ratio of two measurements of one run, so that it means the same on every machine.
"""

import ctypes
import gc
import os
import platform
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from peclip.model import PEClip
from peclip.model.arithmetic import video_flops

SIDES = {"cpu": (2048, 4096), "cuda": (4096, 8192)}
"""Sides of the matrices whose multiplication is the peak: large enough to keep every core busy."""

SECONDS = 0.5
"""Seconds for which a rate of the device is measured."""


@dataclass(frozen=True)
class Memory:
    """Memory at the peak of a step, in bytes.

    Attributes:
        step: memory above that in use before the step.
        total: memory of the whole process: resident on a CPU, allocated by torch on a GPU.
    """

    step: int
    total: int


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of a training step or an evaluation; a multiplication with its addition counts as two.

    Attributes:
        forward: FLOPs of the forward pass over the clips.
        backward: FLOPs of the backward pass over the clips.
        texts: FLOPs of both passes over the class texts, which a training step encodes once for all its clips; 0 if their
            features stay the same.
    """

    forward: int
    backward: int
    texts: int = 0


class Stopwatch:
    """Measures steps: some warm up, then the memory of one is measured, then the time of the others.

    Args:
        device: device on which the steps run.
        warmup: number of steps that are not timed, at least 1; compilation happens in them.
    """

    def __init__(self, device: torch.device, warmup: int) -> None:
        self.device = device
        self.warmup = warmup
        self.seconds: list[float] = []
        """Duration of each measured step, in seconds."""
        self.memory: Memory | None = None
        """Memory at the peak of a step; None if the system does not report it."""
        self._steps = 0
        self._before: int | None = None
        self._begun = 0.0

    def start(self) -> None:
        """Begin a step."""
        if self._steps == self.warmup:
            self._before = reset_peak(self.device)
        synchronize(self.device)
        self._begun = time.perf_counter()

    def stop(self) -> None:
        """End a step."""
        synchronize(self.device)
        took = time.perf_counter() - self._begun
        if self._steps == self.warmup and self._before is not None:
            total = peak(self.device)
            self.memory = Memory(total - self._before, total)
        elif self._steps > self.warmup:
            self.seconds.append(took)
        self._steps += 1


def machine(device: torch.device) -> dict[str, Any]:
    """Return the machine of a measurement: name of the device, threads of a CPU, version of torch."""
    if device.type == "cuda":
        return {"device": torch.cuda.get_device_name(device), "torch": torch.__version__}
    with suppress(OSError):
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        return {
            "device": (names or [platform.machine()])[0],
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
    return {"device": platform.machine(), "threads": torch.get_num_threads(), "torch": torch.__version__}


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished its work; on a CPU, return at once."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak(device: torch.device) -> int | None:
    """Begin a new peak of memory and return the bytes in use now; None if the system does not report them."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    with suppress(OSError, AttributeError):
        # Free memory that the process still holds would hide part of the rise to the peak.
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    except OSError:
        return None


def peak(device: torch.device) -> int:
    """Return the largest number of bytes in use since :func:`reset_peak`."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _status("VmHWM")


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the floating-point operations a second of a large matrix multiplication: the peak of a device.

    It is the highest rate over the :data:`SIDES`.

    Args:
        device: device that multiplies.
        dtype: type of the matrices.
    """
    return max(_rate(side, device, dtype) for side in SIDES[device.type])


def _rate(side: int, device: torch.device, dtype: torch.dtype) -> float:
    first, second = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    product = torch.empty_like(first)
    return 2 * side**3 / median_seconds(lambda: torch.mm(first, second, out=product), device)


def median_seconds(act: Callable[[], Any], device: torch.device) -> float:
    """Return the median duration of an act, which is repeated for :data:`SECONDS`, and at least three times.

    Args:
        act: function to time; a first call, which may have to allocate memory, is not timed.
        device: device on which the act runs.
    """
    act()
    took: list[float] = []
    while len(took) < 3 or sum(took) < SECONDS:
        synchronize(device)
        begun = time.perf_counter()
        act()
        synchronize(device)
        took.append(time.perf_counter() - begun)
    return median(took)


def training_flops(net: PEClip, clips: int, frames: int) -> Flops:
    """Count the floating-point operations of a training step: forward and backward through both towers.

    The step is divided at the features of the texts, so that every operation is counted once, for the texts or for the clips.

    Args:
        net: model on the meta device, see :func:`peclip.model.arithmetic.meta_copy`. Features of texts that it keeps do not
            count.
        clips: number B of clips.
        frames: number T of frames of a clip.
    """
    video, labels = _clips(net, clips, frames), torch.zeros(clips, dtype=torch.long, device="meta")
    texts, forward, backward, texts_backward = (FlopCounterMode(display=False) for _ in range(4))
    with texts:
        encoded = net.encode_text()
    features = encoded.detach().requires_grad_(encoded.requires_grad)
    with forward:
        loss = F.cross_entropy((net.encode_video(video) @ features.T).float(), labels)
    with backward:
        loss.backward()
    of_texts = 0  # if nothing in their tower learns, they are kept from one step to the next
    if encoded.requires_grad:
        with texts_backward:
            encoded.backward(features.grad)
        of_texts = texts.get_total_flops() + texts_backward.get_total_flops()
    return Flops(forward.get_total_flops(), backward.get_total_flops(), of_texts)


def evaluation_flops(net: PEClip, clips: int, frames: int) -> Flops:
    """Count the floating-point operations of an evaluated batch; the arguments are those of :func:`training_flops`."""
    return Flops(video_flops(net, clips, frames), 0)


def timed(step: Callable[[], Any], device: torch.device, warmup: int, steps: int) -> Stopwatch:
    """Run a step repeatedly and return its measurements."""
    watch = Stopwatch(device, warmup)
    for _ in range(warmup + 1 + steps):
        watch.start()
        step()
        watch.stop()
    return watch


def _clips(net: PEClip, clips: int, frames: int) -> Tensor:
    return torch.empty(clips, frames, 3, net.image_size, net.image_size, device="meta")


def _status(name: str) -> int:
    """Return an entry of ``/proc/PID/status`` of this process, in bytes."""
    text = Path(f"/proc/{os.getpid()}/status").read_text()
    match = re.search(rf"^{name}:\s*(\d+) kB$", text, re.MULTILINE)
    assert match
    return 1024 * int(match[1])
