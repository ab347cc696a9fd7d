"""Compare two checkouts of peclip in turns, by the processor time of a training step and of an evaluation.

python benchmarks/checkouts.py BEFORE AFTER [--rounds 8] [--tiny]

ViT-B/16 with random weights, 2 clips of 16 frames, compiled, bf16 with frozen weights in bf16, one thread: processor time does not
count other programs. Both checkouts stay in memory and take turns step by step, so that each is compared with the other in the
same half minute: a shared machine is often a tenth slower ten minutes later.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import torch
from torch.nn import functional as F

CALLS = ("training", "evaluation")


def main() -> None:
    """Answer with times where a checkout is imported for that, else compare both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--tiny", action="store_true", help="try the script out in minutes")
    options = parser.parse_args()
    if not options.checkouts:
        answer(calls(options.tiny))
        return
    if len(options.checkouts) != 2:
        parser.error("expected two checkouts, the earlier one first")
    before, after = (Checkout(path.resolve(), options.tiny) for path in options.checkouts)
    changes: dict[str, list[float]] = {name: [] for name in CALLS}
    for number in range(options.rounds + 1):  # the first one compiles
        for name in CALLS:
            pair = (before, after) if number % 2 else (after, before)
            seconds = {checkout: checkout.seconds(name) for checkout in pair}
            if number:
                changes[name].append(seconds[after] / seconds[before] - 1)
                found = f"{seconds[before]:.2f} and {seconds[after]:.2f} s, {changes[name][-1]:+.1%}"
                print(f"round {number}, {name}: {found}", flush=True)
    for name, of_rounds in changes.items():
        print(
            f"{name}: {median(of_rounds):+.1%} (median of {options.rounds}; {min(of_rounds):+.1%} to {max(of_rounds):+.1%})"
        )


class Checkout:
    """A process of its own that imports a checkout, and waits between two calls.

    Args:
        path: the checkout.
        tiny: whether its model is tiny.
    """

    def __init__(self, path: Path, tiny: bool) -> None:
        environment = os.environ | {"PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"}
        words = [sys.executable, str(Path(__file__).resolve()), *(["--tiny"] if tiny else [])]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(words, **pipes, text=True, bufsize=1, env=environment, cwd=path)

    def seconds(self, name: str) -> float:
        """Return the processor time of one call."""
        assert self._process.stdin
        assert self._process.stdout
        print(name, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())


def answer(known: Mapping[str, Callable[[], None]]) -> None:
    """Print the processor time of every call that a line of the input names, until it ends."""
    for line in sys.stdin:
        begun = time.process_time()
        known[line.strip()]()
        print(time.process_time() - begun, flush=True)


def calls(tiny: bool) -> dict[str, Callable[[], None]]:
    """Return a training step and an evaluation of the peclip that is imported."""
    from peclip.bench.loops import keep_freed_memory  # of which the own file has moved since earlier checkouts
    from peclip.bench.sizes import backbone_of, model_of

    keep_freed_memory()
    torch.manual_seed(0)
    net = model_of(backbone_of("tiny" if tiny else "vit-b/16"), 7, 16, True, False)
    net.hold_frozen_in(torch.bfloat16)
    optimizer = torch.optim.AdamW([weight for weight in net.parameters() if weight.requires_grad], fused=True)
    video = torch.randn(2, 16, 3, net.image_size, net.image_size)
    label = torch.randint(7, (2,))

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(video)
        F.cross_entropy(logits.float(), label).backward()
        optimizer.step()

    def evaluation() -> None:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            net(video)

    return dict(zip(CALLS, (step, evaluation), strict=True))


if __name__ == "__main__":
    main()
