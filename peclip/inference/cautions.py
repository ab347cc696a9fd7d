"""Find reasons why an answer is less reliable than its probability says: in the model, and in single faces."""

from collections.abc import Iterable
from functools import cache

import torch
from torch import Tensor

from peclip.inference.windows import Box
from peclip.labels import are_expressions
from peclip.model import PEClip
from peclip.model.backbones.load import DEMO, load_backbone

SMALLEST = 48.0
"""Side of a face in pixels below which it is small: models see it scaled up four times and more."""

DARKEST, BRIGHTEST = 40.0, 225.0
"""Mean brightness, 0 to 255, below and above which little of a face can be seen."""

SHORTEST = 0.5
"""Seconds below which a face is seen for a moment only; models are trained on clips of 1 to 4 seconds."""

SYNTHETIC = (
    "This model has seen synthetic faces only (its CLIP is the demo's): what it says about real people means nothing."
)
SYNTHETIC_CLIP = "The CLIP of this model has seen synthetic pictures only (it is the demo's): what it says about real videos means nothing."
UNTRAINED_DEMO = "This is zero-shot CLIP, which has seen synthetic pictures only (it is the demo's): what it says about real videos means nothing."
ZERO_SHOT = "This is zero-shot CLIP: nothing in it was trained on these classes, and it is often wrong."

_LUMA = (0.299, 0.587, 0.114)


def of_model(net: PEClip) -> str:
    """Return the sentence of caution about every answer of a model; empty if there is none."""
    if net.config.backbone == DEMO or net.config.fingerprint == _fingerprint_of_demo():
        if not net.trainable_state():
            return UNTRAINED_DEMO
        return SYNTHETIC if are_expressions(net.labels) else SYNTHETIC_CLIP
    return "" if net.trainable_state() else ZERO_SHOT


@cache
def _fingerprint_of_demo() -> str:
    return load_backbone(DEMO).fingerprint


def about_faces(labels: Iterable[str], faces: object) -> bool:
    """Return whether answers are about faces, rather than about whole frames of anything else.

    Args:
        labels: class names.
        faces: the detector; ``none`` or None for whole frames.
    """
    return faces not in ("none", None) or are_expressions(labels)


def of_answer(box: Box, bright: float, seconds: float, is_face: bool = True) -> tuple[str, ...]:
    """Return the cautions about one answer.

    Args:
        box: place of the face in pixels.
        bright: brightness of its clip, from 0 to 255; see :func:`brightness`.
        seconds: seconds for which the face is seen.
        is_face: whether it is about a face, see :func:`about_faces`.
    """
    what = "face" if is_face else "picture"
    found = {
        f"small {what}": max(box.width, box.height) < SMALLEST,
        f"dark {what}": bright < DARKEST,
        f"overexposed {what}": bright > BRIGHTEST,
        "seen for a moment": seconds < SHORTEST,
    }
    return tuple(name for name, is_true in found.items() if is_true)


def brief(of_model: str) -> str:
    """Return the caution of a model as tables and pictures have it: the part before its colon; empty if there is none."""
    return of_model.partition(":")[0]


def in_cell(of_model: str, of_answers: Iterable[str]) -> str:
    """Return the cautions of a model and of single answers as a cell of a table holds them."""
    return "; ".join(filter(None, [brief(of_model), *of_answers]))


def timed(caution: str, seconds: float) -> str:
    """Return a caution with the seconds for which it holds, such as ``small face (1.2 s)``."""
    return f"{caution} ({f'{seconds:.1f} s' if seconds >= 0.05 else 'below 0.1 s'})"


def brightness(clip: Tensor) -> float:
    """Return the mean brightness, 0 to 255, of a clip, uint8 (T, 3, S, S)."""
    return float(clip.float().mean(dim=(0, 2, 3)) @ torch.tensor(_LUMA))
