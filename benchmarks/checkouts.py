"""Compare two checkouts of peclip: their logits and gradients, and in turns the processor time of a training step and of an evaluation.

python benchmarks/checkouts.py BEFORE AFTER [--rounds 8] [--tiny]

ViT-B/16 with random weights, 2 clips of 16 frames, compiled, bf16 with frozen weights in bf16, one thread: processor time does not
count other programs. Both checkouts stay in memory and take turns step by step, so that each is compared with the other in the
same half minute: a shared machine is often a tenth slower ten minutes later. With --rounds 0 only the values are compared.

The values are those of one training step in fp32, not compiled, with the same random weights in all parts.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional as F

CALLS = ("training", "evaluation")

WARM_UP = 2
"""Rounds that do not count: the first one compiles, and the second one still takes memory from the system."""

VALUES = "values"
"""Call that writes logits, gradients and a digest of the weights into a file."""


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
    print(differences(before.values(), after.values()), flush=True)
    if not options.rounds:
        return
    changes: dict[str, list[float]] = {name: [] for name in CALLS}
    for number in range(1 - WARM_UP, options.rounds + 1):
        for name in CALLS:
            pair = (before, after) if number % 2 else (after, before)
            seconds = {checkout: checkout.seconds(name) for checkout in pair}
            if number > 0:
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

    def seconds(self, *words: str) -> float:
        """Return the processor time of one call, by its name and what it needs."""
        assert self._process.stdin
        assert self._process.stdout
        print(*words, sep="\t", file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def values(self) -> dict[str, Tensor]:
        """Return logits, gradients by the name of their weights, and a digest of all weights."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "values.pt")
            self.seconds(VALUES, str(path))
            found: dict[str, Tensor] = torch.load(path, weights_only=True)
        return found


def differences(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> str:
    """Return in a line how far logits and gradients of two checkouts differ.

    Raises:
        SystemExit: their weights differ, so that nothing can be said.
    """
    if before.keys() != after.keys() or not torch.equal(before["weights"], after["weights"]):
        raise SystemExit("the two checkouts have other weights, so that their values cannot be compared")
    results = {name: value for name, value in before.items() if name != "weights"}
    gradients = {name: float((after[name] - value).abs().max() / value.abs().max()) for name, value in results.items()}
    of_logits = gradients.pop("logits")
    worst = max(gradients, key=gradients.__getitem__)
    return (
        f"values in fp32: logits differ by at most {of_logits:.1e} of the largest, the {len(gradients)} gradients by "
        f"{gradients[worst]:.1e} of the largest of their own ({worst})"
    )


def answer(known: Mapping[str, Callable[..., None]]) -> None:
    """Print the processor time of every call that a line of the input names, until it ends."""
    for line in sys.stdin:
        name, *words = line.rstrip("\n").split("\t")
        begun = time.process_time()
        known[name](*words)
        print(time.process_time() - begun, flush=True)


def calls(tiny: bool) -> dict[str, Callable[..., None]]:
    """Return a training step, an evaluation and a writer of values of the peclip that is imported."""
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

    def values(path: str) -> None:
        torch.manual_seed(0)
        plain = model_of(backbone_of("tiny" if tiny else "vit-b/16"), 7, 16, False, False)
        learned = {name: weight for name, weight in sorted(plain.named_parameters()) if weight.requires_grad}
        for weight in learned.values():  # parts begin as the identity, through which few gradients go
            torch.nn.init.normal_(weight, std=0.1)
        digest = hashlib.sha256()
        for _, weight in sorted(plain.named_parameters()):
            digest.update(weight.detach().numpy().tobytes())
        torch.manual_seed(1)
        logits = plain(torch.randn_like(video))
        F.cross_entropy(logits, torch.tensor([0, 3])).backward()
        gradients = {name: weight.grad for name, weight in learned.items()}
        torch.save(gradients | {"logits": logits.detach(), "weights": torch.tensor([*digest.digest()])}, path)

    return {**dict(zip(CALLS, (step, evaluation), strict=True)), VALUES: values}


if __name__ == "__main__":
    main()
