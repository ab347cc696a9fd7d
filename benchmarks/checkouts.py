"""Compare two checkouts of peclip in turns, by the processor time of a training step and of an evaluation.

python benchmarks/checkouts.py BEFORE AFTER [--rounds 2] [--tiny]

ViT-B/16 with random weights, 2 clips of 16 frames, compiled, bf16 with frozen weights in bf16, one thread: processor time leaves out
what other programs do.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch.nn import functional as F

Times = dict[str, list[float]]


def main() -> None:
    """Measure the peclip that is imported where one is asked for, else both checkouts in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tiny", action="store_true", help="try the script out in minutes")
    options = parser.parse_args()
    if not options.checkouts:
        print(json.dumps(times(options.tiny)))
        return
    for number in range(options.rounds):
        for checkout in options.checkouts:
            found = measured(checkout.resolve(), options.tiny)
            words = ", ".join(f"{name} {median(seconds):.2f} s" for name, seconds in found.items())
            print(f"round {number + 1}, {checkout}: {words}", flush=True)


def measured(checkout: Path, tiny: bool) -> Times:
    """Return the times of a checkout, measured in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, str(Path(__file__).resolve()), *(["--tiny"] if tiny else [])]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd=checkout)
    return json.loads(done.stdout.splitlines()[-1])


def times(tiny: bool) -> Times:
    """Return seconds of processor time of five training steps and six evaluations."""
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

    return {"training": seconds(step, 5), "evaluation": seconds(evaluation, 6)}


def seconds(call: Callable[[], None], count: int) -> list[float]:
    """Return the processor time of calls after a first one."""
    call()
    found = []
    for _ in range(count):
        begun = time.process_time()
        call()
        found.append(time.process_time() - begun)
    return found


if __name__ == "__main__":
    main()
