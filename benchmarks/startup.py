"""Time how long commands take to answer, and the demo to its first training step.

python benchmarks/startup.py [--rounds 3]

Each in a process of its own, in a new folder: the demo once with its clips to draw, then with the clips there.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback

DEMO = Path(__file__).parents[1] / "configs" / "demo.yaml"
GOALS = "Goals: peclip --help < 1 s, peclip fit --help < 0.3 s, the first training step < 15 s."


class EndOfFirstStep(Callback):
    """Ends the process after the first training step."""

    def on_train_batch_end(self, *args: Any) -> None:
        """End the process after the first step, since the rest of the training is not timed."""
        os._exit(0)


def main() -> None:
    """Time the commands in turns and print the fastest of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    first_step = ["fit", "--config", str(DEMO), "--trainer.callbacks+=startup.EndOfFirstStep"]
    with tempfile.TemporaryDirectory() as folder:
        generated = seconds(first_step, folder)
        commands = {"peclip --help": ["--help"], "peclip fit --help": ["fit", "--help"], "first step": first_step}
        found = {name: [seconds(words, folder) for _ in range(rounds)] for name, words in commands.items()}
    for name, times in found.items():
        print(f"{name:<40} {min(times):6.2f} s (fastest of {rounds}; slowest {max(times):.2f})")
    print(f"{'first step, after generating the clips':<40} {generated:6.2f} s (once)\n{GOALS}")


def seconds(words: list[str], folder: str) -> float:
    """Return how long a command takes that is started in a folder.

    Raises:
        SystemExit: it failed; with what it said.
    """
    begun = time.perf_counter()
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path[1:]])
    done = subprocess.run(
        [sys.executable, "-m", "peclip", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
