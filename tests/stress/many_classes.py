"""Trains, evaluates and reports a thousand classes, and measures the memory of it.

`python -m tests.stress.many_classes --classes 1000` prints the figures of docs/BENCHMARKS.md. The clips are parts of two
videos, so that thousands of them are written in a second.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.conftest import write_tiny_clip
from tests.media import write_video
from tests.runs import write_config

FRAMES, RATE = 5, 25
"""Frames of a clip, and of a second."""


TRAINED_SO = ("--model.net.texts", "names", "--data.batch_size", "16", "--data.val", "0")
"""Options of the training: validation would need clips of another video."""


class Figures(NamedTuple):
    """Figures of a command: its exit status, seconds, peak memory in MB and what it printed."""

    status: int
    seconds: float
    megabytes: float
    out: str


def write_clips(folder: Path, classes: int) -> Path:
    """Write a manifest of two training clips and one test clip of each class, and return its path."""
    lines = ["path,label,split,start,end"]
    for split, count in (("train", 2 * classes), ("test", classes)):
        write_video(folder / f"{split}.mp4", FRAMES * count, fps=RATE, size=(32, 24), gop=FRAMES)
        for number in range(count):
            start = number * FRAMES / RATE
            lines.append(f"{split}.mp4,class {number % classes},{split},{start:.2f},{start + FRAMES / RATE:.2f}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder / "manifest.csv"


def measured(folder: Path, *args: str) -> Figures:
    """Run the command in a process of its own, in a folder."""
    begin = time.monotonic()
    command = [sys.executable, "-c", MEASURE, *args]
    done = subprocess.run(
        command, check=False, cwd=folder, capture_output=True, text=True, env=os.environ | {"COLUMNS": "120"}
    )
    *_, peak = done.stderr.strip().splitlines() or ["0"]
    seconds = time.monotonic() - begin
    return Figures(
        done.returncode, seconds, float(peak) / 1024 if peak.isdecimal() else float("nan"), done.stdout + done.stderr
    )


MEASURE = """
import sys
from pathlib import Path
from peclip.cli import main
try:
    main(sys.argv[1:])
finally:
    lines = Path("/proc/self/status").read_text().splitlines()
    print(next(line.split()[1] for line in lines if line.startswith("VmHWM:")), file=sys.stderr)
"""


def commands(folder: Path, classes: int) -> dict[str, Figures]:
    """Train on so many classes in a folder, then use every command that reports classes; return the figures by command."""
    config = write_config(folder / "many.yaml", write_tiny_clip(folder / "clip"), write_clips(folder, classes))
    video = str(folder / "test.mp4")
    model = "runs/tiny/version_0"
    return {
        "check": measured(folder, "check", "manifest.csv"),
        "fit": measured(folder, "fit", "--config", str(config), *TRAINED_SO),
        "test": measured(folder, "test", "--ckpt_path", model, "--out", "tested"),
        "export": measured(folder, "export", model, "--out", "package"),
        "compare": measured(folder, "compare", model, "tested", "--out", "compared"),
        "recognize": measured(folder, "recognize", video, "--model", "package", "--faces", "none", "--stride", "2"),
    }


def main() -> None:
    """Print the figures as a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, default=1000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print("| command | seconds | peak, MB | lines printed |\n|---|---:|---:|---:|")
        for name, found in commands(Path(folder), given.classes).items():
            assert found.status == 0, found.out
            print(f"| `{name}` | {found.seconds:.0f} | {found.megabytes:,.0f} | {len(found.out.splitlines())} |")


if __name__ == "__main__":
    main()
