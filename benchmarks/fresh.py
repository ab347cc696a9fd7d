"""Run measurements in processes of their own, in turns, and print their tables; for the scripts in this folder."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

Figures = dict[str, Any]
"""Content of the json file of ``peclip bench --out``."""


def measured(command: Sequence[object], timeout: float | None = None) -> Figures:
    """Run a Python program with ``--out FILE``, and return the content of the file.

    Args:
        command: arguments of ``python``.
        timeout: seconds after which it is ended.

    Raises:
        SystemExit: it failed; with its error output.
        subprocess.TimeoutExpired: it took too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        words = [sys.executable, *map(str, command), "--out", str(out)]
        done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=timeout)
        if done.returncode:
            raise SystemExit(f"{' '.join(words[1:-2])}\n{done.stderr.strip()}")
        return json.loads(out.read_text())


def peclip(what: str, **options: object) -> list[object]:
    """Return the command of ``peclip bench``, for :func:`measured`; options that are None are omitted."""
    given = [word for name, value in options.items() if value is not None for word in (f"--{name}", value)]
    return ["-m", "peclip", "bench", what, *given]


def arguments(description: str | None, rounds: int) -> argparse.Namespace:
    """Read the options of a script that measures variants of one model with :func:`peclip`; see :func:`common`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--steps", type=int, default=3, help="that count, in each round")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--frozen", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tiny", action="store_true", help="try the script out in minutes")
    parser.add_argument("--out", help="json file to write the figures to")
    return parser.parse_args()


def common(options: argparse.Namespace) -> dict[str, object]:
    """Return what the options say of every variant, as :func:`peclip` takes it."""
    return {
        "backbone": "tiny" if options.tiny else "vit-b/16",
        "steps": options.steps,
        "compile": str(options.compile).lower(),
        "frozen": options.frozen,
        "device": options.device,
    }


def in_turns(variants: Mapping[str, Sequence[object]], rounds: int) -> dict[str, Figures]:
    """Measure programs in turns, so that what else the machine does falls on all of them.

    Args:
        variants: a command as for :func:`measured`, by name.
        rounds: how often each is run.

    Returns:
        by name, the figures with ``step`` (median of the rounds' median steps, seconds), ``fastest`` (seconds), ``memory``
        and ``process_memory`` (bytes at the peak of a step, above what was in use before and in all; None where
        unknown) and ``rounds``, the figures of each.
    """
    found: dict[str, list[Figures]] = {name: [] for name in variants}
    for number in range(rounds):
        for name, command in variants.items():
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
            found[name].append(measured(command))
    return {name: together(rounds_of) for name, rounds_of in found.items()}


def together(rounds: Sequence[Figures]) -> Figures:
    """Return the figures of several rounds as one; see :func:`in_turns`."""
    memory = [entry["memory_bytes"] for entry in rounds if entry["memory_bytes"]]
    return {
        "step": median(entry["step_seconds"]["median"] for entry in rounds),
        "fastest": min(entry["step_seconds"]["min"] for entry in rounds),
        "memory": max(entry["step"] for entry in memory) if memory else None,
        "process_memory": max(entry["total"] for entry in memory) if memory else None,
        "rounds": list(rounds),
    }


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table whose first column is to the left and the others to the right."""
    shown = Table()
    for index, column in enumerate(header):
        shown.add_column(column, justify="right" if index else "left")
    for row in rows:
        shown.add_row(*row)
    print(title)
    Console(width=None if sys.stdout.isatty() else 150).print(shown)


def keep(figures: Mapping[str, Any], out: str | None) -> None:
    """Write all figures as json, where a file is asked for."""
    if out:
        part = Path(f"{out}.part")
        part.write_text(json.dumps(figures, indent=2) + "\n")
        part.replace(out)


def gigabytes(size: float | None) -> str:
    """Return an amount of memory as it stands in the tables."""
    return "unknown" if size is None else f"{size / 1e9:.2f} GB"


def ratio(one: float | None, other: float | None) -> str:
    """Return ``one / other`` as it stands in the tables."""
    return "unknown" if not one or not other else f"{one / other:.2f}"
