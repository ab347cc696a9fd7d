"""Measure training and evaluation on one GPU, in less than ten minutes.

python benchmarks/gpu.py [--budget 570] [--out FILE]
python benchmarks/gpu.py --device cpu --tiny      try it out

ViT-B/16 with random weights, clips of 16 frames, 7 classes: training and evaluation in bf16, compiled and not; the memory of
64 clips; and what all this is compared with, peclip in fp32 without compilation. The most important comes first; what no
longer fits into the budget is named as not measured.
"""

import argparse
import subprocess
import time
from typing import NamedTuple

from fresh import Figures, gigabytes, keep, measured, peclip, ratio, table


class Variant(NamedTuple):
    """A measurement.

    Attributes:
        what: train or eval.
        clips: B on a GPU.
        options: of peclip bench.
    """

    what: str
    clips: int
    options: dict[str, object]


BF16 = {"precision": "bf16-mixed", "frozen": "bf16"}
COMPILED = BF16 | {"compile": "true", "warmup": 3}
NARROW = COMPILED | {"residual": "bf16"}
VARIANTS = {
    "training, bf16, compiled": Variant("train", 64, COMPILED),
    "training, fp32, eager": Variant("train", 8, {"precision": "32-true"}),
    "evaluation, bf16, compiled": Variant("eval", 64, COMPILED),
    "training, bf16, compiled, residual in bf16": Variant("train", 64, NARROW),
    "evaluation, bf16, compiled, residual in bf16": Variant("eval", 64, NARROW),
    "training, bf16, compiled, residual in bf16, 0.7 of the activations": Variant(
        "train", 64, NARROW | {"activation_memory_budget": 0.7}
    ),
    "training, bf16, eager": Variant("train", 64, BF16),
    "training, bf16, eager, checkpointing": Variant("train", 64, BF16 | {"checkpointing": "true"}),
    "evaluation, bf16, eager": Variant("eval", 64, BF16),
    "training, bf16, compiled, checkpointing": Variant("train", 64, COMPILED | {"checkpointing": "true"}),
}
GOALS = """Goals on one H200: training at 50 % of the matmul rate (about 325 clips/s) and evaluation at 60 %, both compiled;
training 10 times as fast as in fp32, eager; 64 clips in under 40 GB."""


def main() -> None:
    """Run the measurements in turn until the time budget is used up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=570, help="seconds")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a tiny model and 2 clips")
    parser.add_argument("--out", help="json file to write the figures to, after each measurement")
    options = parser.parse_args()
    begun = time.monotonic()
    found: dict[str, Figures] = {}
    missed: dict[str, str] = {}
    for name, variant in VARIANTS.items():
        left = options.budget - (time.monotonic() - begun)
        outcome = one(variant, options, left) if left > 0 else "out of time"
        print(f"{time.monotonic() - begun:5.0f} s: {name}", flush=True)
        if isinstance(outcome, str):
            missed[name] = outcome
        else:
            found[name] = outcome
        keep({"found": found, "missed": missed}, options.out)
    show(found, missed)


def one(variant: Variant, options: argparse.Namespace, seconds: float) -> Figures | str:
    """Return the figures of a measurement, or its error, so that the others still run."""
    given = {
        "backbone": "tiny" if options.tiny else "vit-b/16",
        "batch_size": 2 if options.tiny else variant.clips,
        "steps": options.steps,
        "device": options.device,
        **variant.options,
    }
    try:
        return measured(peclip(variant.what, **given), timeout=seconds)
    except subprocess.TimeoutExpired:
        return "out of time"
    except SystemExit as error:
        return str(error).splitlines()[-1]


def show(found: dict[str, Figures], missed: dict[str, str]) -> None:
    """Print what was measured, and the ratio of every rate to that of fp32."""
    slow = found.get("training, fp32, eager", {}).get("clips_per_second")
    rows = [
        [
            name,
            str(figures["batch_size"]),
            f"{figures['clips_per_second']:,.1f}",
            f"{figures['frames_per_second']:,.0f}",
            f"{1000 * figures['step_seconds']['median']:,.1f} ms",
            gigabytes((figures["memory_bytes"] or {}).get("total")),
            f"{figures['matmul_flops_per_second'] / 1e12:,.1f}",
            f"{figures['share_of_peak']:.1%}",
            ratio(figures["clips_per_second"], slow),
        ]
        for name, figures in found.items()
    ]
    here = next(iter(found.values()), {"machine": {"device": "no device", "torch": "?"}})["machine"]
    header = ["", "clips", "clips/s", "frames/s", "step", "memory", "matmul, TFLOP/s", "of matmul", "rate / fp32 eager"]
    table(f"{time.strftime('%Y-%m-%d')}, {here['device']}, torch {here['torch']}", header, rows)
    for name, why in missed.items():
        print(f"not measured: {name}: {why}")
    print(GOALS)


if __name__ == "__main__":
    main()
