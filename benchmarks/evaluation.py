"""Compare the rate of evaluation with that of training, and see whether its step grows with the number of classes.

python benchmarks/evaluation.py [--rounds 3] [--steps 3] [--compile] [--frozen bf16] [--device cpu] [--tiny] [--out FILE]

ViT-B/16 with random weights, 2 clips of 16 frames; training with 7 classes, evaluation with 7, 100 and 1,000.
"""

import argparse

from fresh import Figures, in_turns, keep, peclip, ratio, table

CLASSES = (7, 100, 1000)


def main() -> None:
    """Measure training and evaluation in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="that count, in each round")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--frozen", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tiny", action="store_true", help="try the script out in a minute")
    parser.add_argument("--out", help="json file to write the figures to")
    options = parser.parse_args()
    common = {
        "backbone": "tiny" if options.tiny else "vit-b/16",
        "steps": options.steps,
        "compile": str(options.compile).lower(),
        "frozen": options.frozen,
        "device": options.device,
    }
    variants = {"training, 7 classes": peclip("train", classes=7, **common)}
    variants |= {f"evaluation, {count:,} classes": peclip("eval", classes=count, **common) for count in CLASSES}
    found = in_turns(variants, options.rounds)
    show(found)
    keep(found, options.out)


def show(found: dict[str, Figures]) -> None:
    """Print steps, and their ratios to the training step and to the evaluation with the fewest classes."""
    training, few, *_ = found.values()
    rows = [
        [
            name,
            f"{figures['step']:.3f} s",
            f"{figures['fastest']:.3f} s",
            ratio(training["step"], figures["step"]),
            "" if figures is training else ratio(figures["step"], few["step"]),
            f"{figures['rounds'][0]['share_of_peak']:.1%}",
        ]
        for name, figures in found.items()
    ]
    here = few["rounds"][0]
    header = ["", "step", "fastest", "training / step", f"step / step of {CLASSES[0]} classes", "of matmul, round 1"]
    table(f"Evaluation on {here['machine']['device']}, {here['precision']}", header, rows)
    print("Goals: training / step >= 1.9; the same step for every number of classes.")


if __name__ == "__main__":
    main()
