"""Options of ``peclip bench train`` and ``peclip bench eval``: plain values, without torch."""

from dataclasses import dataclass, replace
from typing import Literal

from peclip import labels
from peclip.errors import InputError

Precision = Literal["auto", "bf16-mixed", "32-true"]
Held = Literal["fp32", "bf16"]

MOST = {
    "batch_size": 10_000,
    "num_frames": 10_000,
    "classes": labels.MOST,
    "image_size": 4_096,
    "steps": 1_000_000,
    "warmup": 1_000_000,
    "clips": 1_000_000,
    "seed": 2**32 - 1,
}
"""Largest values of the options."""

LEAST = {"classes": 2, "seed": 0}
"""Smallest values of the options, if they are not 1."""


def check_range(name: str, value: int | None) -> None:
    """Check an option that is a number; None means that it is not set.

    Raises:
        InputError: the option is out of range.
    """
    least = LEAST.get(name, 1)
    if value is not None and not least <= value <= MOST[name]:
        raise InputError(f"{name} is {value}, expected {least} to {MOST[name]:,}", name)


@dataclass(frozen=True)
class Setup:
    """Options of a measurement.

    Args:
        model: trained model instead of random weights: a run, a .ckpt, a package or its Hub id, or a released .pth; it
            determines num_frames, classes and image_size.
        backbone: vit-b/16 (the default), vit-b/32, vit-l/14, vit-h/14 or tiny, with random weights; or a Hub id or a
            folder. With a model, location of its CLIP, if it has moved since the training.
        batch_size: B, clips of a step.
        num_frames: T, frames of a clip; by default 16.
        classes: C, at least 2; by default 7.
        image_size: side of the frames in pixels; by default that of the backbone.
        precision: bf16-mixed, 32-true, or auto: the default of peclip fit and test on this device.
        frozen: precision in which the matrices of CLIP are held; bf16 only with precision bf16-mixed.
        residual: precision of the tokens between the blocks of the vision tower; bf16 only with precision bf16-mixed.
        compile: compile the model.
        checkpointing: compute activations again in the backward pass instead of keeping them.
        activation_memory_budget: share of the activations that compiled blocks keep, above 0 and up to 1.
        steps: number of steps that are timed.
        warmup: number of steps before them, which are not timed: the first computes the class texts of an evaluation, and
            with compile they take about a minute.
        device: cpu, cuda, cuda:NUMBER, or auto for a GPU if there is one.
        seed: seed of the weights and clips.
        trust: import classes of other packages that the model names; for models of people you trust.

    Raises:
        InputError: a number is out of range, or the device is missing.
    """

    model: str | None = None
    backbone: str | None = None
    batch_size: int = 2
    num_frames: int | None = None
    classes: int | None = None
    image_size: int | None = None
    precision: Precision = "auto"
    frozen: Held = "fp32"
    residual: Held = "fp32"
    compile: bool = False
    checkpointing: bool = False
    activation_memory_budget: float = 1.0
    steps: int = 5
    warmup: int = 2
    device: str = "auto"
    seed: int = 0
    trust: bool = False

    def __post_init__(self) -> None:
        for name in MOST:
            check_range(name, getattr(self, name, None))

    def completed(self, backbone: str, num_frames: int, classes: int, image_size: int) -> "Setup":
        """Return the setup with the numbers of the model for options that are not set.

        Args:
            backbone: name of the backbone of the model.
            num_frames: T.
            classes: C.
            image_size: side of the frames in pixels.

        Raises:
            InputError: an option contradicts the model.
        """
        for name, value in (("num_frames", num_frames), ("classes", classes), ("image_size", image_size)):
            if (stated := getattr(self, name)) not in (None, value):
                raise InputError(f"{name} is {stated}, but {self.model or backbone} has {value}: omit {name}")
        return replace(
            self, backbone=self.backbone or backbone, num_frames=num_frames, classes=classes, image_size=image_size
        )
