"""Fuzzing for a given time: cases by number, each judged in a process with limits on time and memory."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import NamedTuple

from peclip.data import forking
from peclip.errors import InputError
from tests.stress.guarded import MOST_MEGABYTES, Outcome, guarded

SECONDS = 20
"""Time that a case may take."""

PIECE = 500
"""Cases that one process judges, unless one of them ends it."""

LEAST = 10
"""Cases that are judged however little time there is."""

LONGEST = 4000
"""Characters of a message; most of them are a list of valid names, or a path."""

Judge = Callable[[Path, int, int], str]
"""Judges a case, given a folder with the originals, the seed and its number; returns the kind of outcome."""


class Finding(NamedTuple):
    """A case that does something else than it may."""

    number: int
    what: str


class Report(NamedTuple):
    """Findings of a fuzzer.

    Attributes:
        findings: cases that do something else than they may.
        counts: number of cases by outcome.
        figures: all of it in a line.
    """

    findings: list[Finding]
    counts: Counter[str]
    figures: str


def fuzz(judge: Judge, prepare: Callable[[Path], None], seconds: float, seed: int) -> Report:
    """Judge cases until the time is over.

    Args:
        judge: can be pickled.
        prepare: writes the originals into a folder.
        seconds: how long; :data:`LEAST` cases are judged in any case.
        seed: of all that is random.
    """
    findings, counts, slowest, largest, number = [], Counter[str](), 0.0, 0.0, 0
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name))
        begin = time.monotonic()
        for outcome in _outcomes(partial(judge, Path(name), seed)):
            what = outcome.error or ("" if outcome.megabytes < MOST_MEGABYTES else f"{outcome.megabytes:.0f} MB")
            if what:
                findings.append(Finding(number, what))
            else:
                counts[outcome.value] += 1
                slowest, largest = max(slowest, outcome.seconds), max(largest, outcome.megabytes)
            number += 1
            if number >= LEAST and time.monotonic() - begin > seconds:
                break
    kinds = ", ".join(f"{cases:,} {kind}" for kind, cases in sorted(counts.items()))
    figures = (
        f"{number:,} cases in {time.monotonic() - begin:.0f} s, seed {seed}: {kinds}, {len(findings)} findings; at most "
        f"{slowest:.1f} s and {largest:.0f} MB a case"
    )
    return Report(findings, counts, figures)


def _outcomes(judge: Callable[[int], str]) -> Iterator[Outcome]:
    """Yield the outcomes of cases without end."""
    for first in count(0, PIECE):
        yield from guarded(judge, range(first, first + PIECE), SECONDS)


def refusal(way: Callable[[], object], names: str = "") -> str | None:
    """Return the message with which something is refused, None where it is not.

    Args:
        way: what may be refused.
        names: a text that the message must contain.

    Raises:
        AssertionError: the message is not one line, is too long, or does not contain the text.
    """
    try:
        way()
    except InputError as error:
        message = str(error)
        assert "\n" not in message, f"more than a line: {message}"
        assert len(message) < LONGEST, f"{len(message)} characters: {message[:200]}"
        assert names in message, f"does not name {names}: {message}"
        return message
    return None


def main(name: str) -> None:
    """Fuzz from the command line, and print what was found.

    Args:
        name: of the module, by which the processes of the cases import it; it has ``judge`` and ``prepare``.
    """
    module = import_module(name)
    parser = argparse.ArgumentParser(description=str(module.__doc__).splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="number of one case, to be judged in this process")
    given = parser.parse_args()
    if given.only is not None:
        with tempfile.TemporaryDirectory() as folder:
            module.prepare(Path(folder))
            print(module.judge(Path(folder), given.seed, given.only))
        return
    forking.PRELOADED = [name]
    report = fuzz(module.judge, module.prepare, given.seconds, given.seed)
    for finding in report.findings:
        print(f"case {finding.number}: {finding.what}")
    print(report.figures)
