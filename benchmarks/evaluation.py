"""Compare the rate of evaluation with that of training, and see whether its step grows with the number of classes.

python benchmarks/evaluation.py [--rounds 3] [--steps 3] [--compile] [--frozen bf16] [--device cpu] [--tiny] [--out FILE]

ViT-B/16 with random weights, 2 clips of 16 frames; training with 7 classes, evaluation with 7, 100 and 1,000.
"""

from fresh import Figures, arguments, common, in_turns, keep, peclip, ratio, table

CLASSES = (7, 100, 1000)


def main() -> None:
    """Measure training and evaluation in turns."""
    options = arguments(__doc__, rounds=3)
    every = common(options)
    variants = {"training, 7 classes": peclip("train", classes=7, **every)}
    variants |= {f"evaluation, {count:,} classes": peclip("eval", classes=count, **every) for count in CLASSES}
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
