"""Time several implementations in turns, so that other load on the machine affects all of them alike."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table


def processor_seconds(ways: Mapping[str, Callable[[int], Any]], rounds: int) -> dict[str, list[float]]:
    """Call each way once a round, with the number of the round, and return the processor time of each call.

    Processor time of all threads of the process is what counts per core: it excludes other programs, and includes a
    library's own threads.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(0)
    for number in range(rounds):
        for name, way in ways.items():
            begun = time.process_time()
            way(number)
            seconds[name].append(time.process_time() - begun)
    return seconds


def show(title: str, seconds: Mapping[str, Sequence[float]], clips: int = 1) -> None:
    """Print a table: milliseconds of a clip, and how many times longer each way takes than the first.

    The ratio is the median over the rounds of the ratios within a round.
    """
    table = Table("", "ms a clip, median", "least", "clips/s of a core", "times the first", title=title)
    first = next(iter(seconds.values()))
    for name, times in seconds.items():
        each = [value / clips for value in times]
        ratio = median(value / base for value, base in zip(times, first, strict=True))
        table.add_row(
            name, f"{1e3 * median(each):.2f}", f"{1e3 * min(each):.2f}", f"{1 / median(each):.1f}", f"{ratio:.2f}"
        )
    Console(width=110).print(table)
