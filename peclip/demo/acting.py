"""Act: how a synthetic face moves over a clip, with an expression that comes and goes, and incidental movements."""

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from peclip.demo.face import ActionUnits, Pose

Curve = NDArray[np.floating]

RESTING = frozenset({"relaxed_muscles", "even_eyebrows", "closed_lips", "calm_eyes", "smooth_forehead"})
"""Names in the text of a face at rest; none of them moves anything."""

UNITS = tuple(field.name for field in fields(ActionUnits))


def units_of(text: str) -> list[str]:
    """Return the action units a class text names ("Cheek Raiser, Jaw Drop." -> cheek_raiser, jaw_drop).

    Raises:
        ValueError: the text names something that cannot be drawn.
    """
    names = [name.strip().lower().replace(" ", "_") for name in text.rstrip(". ").split(",")]
    if unknown := [name for name in names if name not in UNITS and name not in RESTING]:
        raise ValueError(f"cannot draw {unknown[0]!r} of {text!r}: expected {', '.join(UNITS)}")
    return [name for name in names if name in UNITS]


def turns(rng: np.random.Generator, frames: int) -> Curve:
    """Return a turn in the middle third of the clip, 0 before and 1 after it, float64 (frames,)."""
    return _ramp((np.linspace(0, 1, frames) - rng.uniform(0.35, 0.65)) / rng.uniform(0.1, 0.2))


def comes(rng: np.random.Generator, frames: int) -> Curve:
    """Return an onset at a random time that stays to the end, 0 to 1, float64 (frames,)."""
    return _ramp((np.linspace(0, 1, frames) - rng.uniform(0.1, 0.5)) / rng.uniform(0.15, 0.4))


def expression(rng: np.random.Generator, text: str, envelope: Curve) -> list[ActionUnits]:
    """Play the action units of a text along the envelope; each has its own strength, the others stir a little."""
    strength = rng.uniform(0.65, 1.0)
    peaks = {name: rng.uniform(0.0, 0.12) for name in UNITS}
    peaks.update({name: strength * rng.uniform(0.75, 1.0) for name in units_of(text)})
    return [ActionUnits(**{name: peak * level for name, peak in peaks.items()}) for level in envelope.tolist()]


def change(rng: np.random.Generator, before: str, after: str, curve: Curve) -> list[ActionUnits]:
    """Play the action units of a text that become those of another along the curve; the others stir a little."""
    first, last = _peaks(rng, before), _peaks(rng, after)
    return [
        ActionUnits(**{name: (1 - level) * first[name] + level * last[name] for name in UNITS})
        for level in curve.tolist()
    ]


def movement(rng: np.random.Generator, frames: int) -> list[Pose]:
    """Return head motion, gaze, blinks and, in half of the clips, speech."""
    talk, pucker = _speech(rng, frames) if rng.random() < 0.5 else (np.zeros(frames), np.zeros(frames))
    curves = {
        "x": _drift(rng, frames, rest=0.04, sway=0.02),
        "y": _drift(rng, frames, rest=0.03, sway=0.02),
        "scale": 1 + _drift(rng, frames, rest=0.04, sway=0.01),
        "roll": _drift(rng, frames, rest=0.06, sway=0.04),
        "yaw": _drift(rng, frames, rest=0.08, sway=0.05),
        "pitch": _drift(rng, frames, rest=0.02, sway=0.015),
        "gaze": _drift(rng, frames, rest=0.3, sway=0.3),
        "blink": _blinks(rng, frames),
        "talk": talk,
        "pucker": pucker,
    }
    return [Pose(**{name: float(curve[time]) for name, curve in curves.items()}) for time in range(frames)]


def _peaks(rng: np.random.Generator, text: str) -> dict[str, float]:
    """Return how strongly a face shows each action unit: those of the text clearly, the others a little."""
    shown = units_of(text)
    return {name: rng.uniform(0.5, 0.95) if name in shown else rng.uniform(0.0, 0.2) for name in UNITS}


def _ramp(x: Curve) -> Curve:
    """Rise from 0 to 1 between x = 0 and x = 1, with a soft start and end."""
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x))


def _drift(rng: np.random.Generator, frames: int, rest: float, sway: float) -> Curve:
    """Return a resting place with a slow swing around it; both are standard deviations."""
    phase = rng.uniform(0, 2 * np.pi) + np.linspace(0, 2 * np.pi, frames) * rng.uniform(0.3, 1.2)
    return np.asarray(rng.normal(0, rest) + rng.normal(0, sway) * np.sin(phase))


def _blinks(rng: np.random.Generator, frames: int) -> Curve:
    """Return up to two blinks, each about a fifth of a second long at 25 frames a second."""
    time = np.arange(frames)
    centres = rng.uniform(0, frames, rng.integers(0, 3))
    return np.asarray(sum((np.exp(-(((time - centre) / 1.3) ** 4)) for centre in centres), np.zeros(frames))).clip(0, 1)


def _speech(rng: np.random.Generator, frames: int) -> tuple[Curve, Curve]:
    """Return opening and rounding of a talking mouth: a few syllables a second."""
    phase = np.arange(frames) * rng.uniform(0.5, 1.0) + rng.uniform(0, 2 * np.pi)
    loudness = rng.uniform(0.4, 1.0) * (0.6 + 0.4 * np.sin(phase * 0.37))
    return loudness * np.sin(phase / 2) ** 2, loudness * 0.7 * np.sin(phase * 0.31 + 1) ** 2
