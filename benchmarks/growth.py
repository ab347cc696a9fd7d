"""Measure how the time and the memory of a training step grow with clips, frames, image size and classes.

python benchmarks/growth.py [--rounds 1] [--steps 3] [--compile] [--frozen bf16] [--device cpu] [--tiny] [--out FILE]

One of them changes while the others stay at 2 clips of 16 frames of 224 pixels and 7 classes, ViT-B/16 with random weights.
The exponent k of cost = a * x^k is fitted by least squares to the logarithms: 1 is linear. Tokens of a frame grow with the
square of its side, so that 2 is linear in the pixels.
"""

import math
from collections.abc import Sequence

from fresh import Figures, arguments, common, gigabytes, in_turns, keep, peclip, table

BASE = {"batch_size": 2, "num_frames": 16, "image_size": 224, "classes": 7}
VALUES = {
    "batch_size": (1, 2, 4, 8),
    "num_frames": (8, 16, 32, 64),
    "image_size": (112, 160, 224, 320),
    "classes": (7, 50, 200, 1000),
}
NAMES = {
    "batch_size": "B, clips",
    "num_frames": "T, frames",
    "image_size": "image size, pixels",
    "classes": "C, classes",
}


def main() -> None:
    """Measure every value in turns."""
    options = arguments(__doc__, rounds=1)
    points = {tuple((BASE | {name: value}).items()) for name, values in VALUES.items() for value in values}
    variants = {
        label(dict(point)): peclip("train", **common(options), warmup=1, **dict(point)) for point in sorted(points)
    }
    found = in_turns(variants, options.rounds)
    show(found)
    keep(found, options.out)


def label(point: dict[str, int]) -> str:
    """Return the name of a measurement."""
    return ", ".join(f"{name} {value}" for name, value in point.items())


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the slope of log y over log x, fitted by least squares."""
    first, second = ([math.log(value) for value in values] for values in (x, y))
    middle, height = (sum(values) / len(values) for values in (first, second))
    above = sum((a - middle) * (b - height) for a, b in zip(first, second, strict=True))
    return above / sum((a - middle) ** 2 for a in first)


def show(found: dict[str, Figures]) -> None:
    """Print time and memory at each value, and the exponents."""
    for name, values in VALUES.items():
        steps = [found[label(BASE | {name: value})] for value in values]
        seconds, memory = [entry["step"] for entry in steps], [entry["memory"] for entry in steps]
        grows = f"{exponent(values, memory):.2f}" if all(memory) else "unknown"
        rows = [
            ["step", *(f"{value:.3f} s" for value in seconds), f"{exponent(values, seconds):.2f}"],
            ["memory of it", *map(gigabytes, memory), grows],
        ]
        table(NAMES[name], ["", *map(str, values), "exponent"], rows)


if __name__ == "__main__":
    main()
