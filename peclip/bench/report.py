"""Show the results of ``peclip bench`` as a table and write them as json."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from peclip.bench.floor import Floor
from peclip.bench.measure import Flops, Memory
from peclip.console import PlainConsole
from peclip.errors import InputError
from peclip.files import check_folder, write_json
from peclip.terminal import say

Result = dict[str, Any]
"""Content of the json file; times in seconds, memory in bytes, rates in units a second."""


def rates(clips: int, frames: int, seconds: Sequence[float]) -> Result:
    """Return the entries about time.

    Args:
        clips: number B of clips of a step.
        frames: number T of frames of a clip.
        seconds: duration of every step, in seconds.
    """
    step = median(seconds)
    return {
        "clips_per_second": clips / step,
        "frames_per_second": clips * frames / step,
        "step_seconds": {"median": step, "min": min(seconds), "all": list(seconds)},
    }


def memory_entry(memory: Memory | None) -> Result:
    """Return the entry about memory at the peak of a step: above that in use before the step, and in total."""
    return {"memory_bytes": None if memory is None else {"step": memory.step, "total": memory.total}}


def arithmetic(clips: int, flops: Flops | None, seconds: Sequence[float], matmul: float) -> Result:
    """Return the entries about arithmetic.

    Args:
        clips: number B of clips of a step.
        flops: operations of a step of B clips; None if they are unknown.
        seconds: duration of every step, in seconds.
        matmul: peak rate of the device, in operations a second.
    """
    return {
        "flops_per_clip": flops and {"forward": flops.forward / clips, "backward": flops.backward / clips},
        "flops_of_texts": flops and flops.texts,
        "matmul_flops_per_second": matmul,
        "share_of_peak": flops and (flops.forward + flops.backward + flops.texts) / median(seconds) / matmul,
    }


def floor_entry(floor: Floor | None, memory: float, seconds: Sequence[float]) -> Result:
    """Return the entries about the floor of a step.

    Args:
        floor: floor of the step; None if it is unknown.
        memory: rate of memory of the device, in bytes a second.
        seconds: duration of every step, in seconds.
    """
    return {
        "memory_bytes_per_second": memory,
        "floor_seconds": floor and {**asdict(floor), "step": floor.step},
        "step_over_floor": floor and median(seconds) / floor.step,
    }


def show(title: str, result: Result) -> None:
    """Print a result as a table."""
    step = result["step_seconds"]
    rows = [
        ["clips/s", f"{result['clips_per_second']:,.2f}"],
        ["frames/s", f"{result['frames_per_second']:,.1f}"],
        ["step, median", milliseconds(step["median"])],
        ["step, fastest", milliseconds(step["min"])],
        *_memory_rows(result["memory_bytes"]),
    ]
    if (flops := result.get("flops_per_clip")) is not None:
        rows += [
            ["FLOPs of a clip, forward", f"{flops['forward'] / 1e9:,.4g} G"],
            ["FLOPs of a clip, backward", f"{flops['backward'] / 1e9:,.4g} G"],
            ["FLOPs of the class texts, a step", f"{result['flops_of_texts'] / 1e9:,.4g} G"],
            ["matrix multiplication", f"{result['matmul_flops_per_second'] / 1e12:,.2f} TFLOP/s"],
            ["share of it", f"{result['share_of_peak']:.1%}"],
        ]
    elif "flops_per_clip" in result:
        rows.append(["FLOPs and floor", "unknown: a part looks at values"])
    if (floor := result.get("floor_seconds")) is not None:
        rows += [
            ["memory, read and written", f"{result['memory_bytes_per_second'] / 1e9:,.1f} GB/s"],
            ["floor: matrix products", milliseconds(floor["products"])],
            ["floor: attention", milliseconds(floor["attention"])],
            ["floor: memory traffic of both", milliseconds(floor["traffic"])],
            ["step / floor", f"{result['step_over_floor']:.2f}"],
        ]
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for row in rows:
        table.add_row(*row)
    say(title)
    PlainConsole().print(table)


def check_out(out: str | None) -> None:
    """Check that an output file can be written, before anything is measured for it.

    Raises:
        InputError: the file cannot be written.
    """
    if out is not None:
        check_folder(Path(out).parent)
        if Path(out).is_dir():
            raise InputError(f"out {out} is a folder, expected a json file", "out")


def keep(result: Mapping[str, Any], out: str | None) -> None:
    """Write a result as json if an output file is given.

    Raises:
        InputError: the file cannot be written.
    """
    if out is None:
        return
    write_json(Path(out), result)
    say(f"The figures are in {out}")


def milliseconds(seconds: float) -> str:
    """Format a time for the table."""
    return f"{1000 * seconds:,.1f} ms"


def megabytes(size: int | None) -> str:
    """Format an amount of memory for the table."""
    return "unknown" if size is None else f"{size / 1e6:,.0f} MB"


def _memory_rows(memory: Mapping[str, int] | None) -> list[list[str]]:
    step, total = (memory["step"], memory["total"]) if memory else (None, None)
    return [["memory of a step, at its peak", megabytes(step)], ["memory of all, at the peak", megabytes(total)]]
