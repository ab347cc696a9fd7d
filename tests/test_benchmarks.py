"""The scripts in benchmarks/: what they derive from their measurements is right."""

import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """Import a script as python benchmarks/NAME.py does."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))  # names as short as theirs are not to stay
    return __import__


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_the_exponent_of_a_power_is_found(script, power):
    values = (8, 16, 32, 64)
    assert script("growth").exponent(values, [3 * value**power for value in values]) == pytest.approx(power)


def test_figures_of_several_rounds_become_one(script):
    rounds = [
        {"step_seconds": {"median": step, "min": step - 1}, "memory_bytes": {"step": size, "total": 2 * size}}
        for step, size in ((3.0, 5), (2.0, 7), (9.0, 6))
    ]
    found = script("fresh").together(rounds)
    assert (found["step"], found["fastest"], found["memory"], found["process_memory"]) == (3.0, 1.0, 7, 14)


def test_a_measurement_that_fails_says_why(script):
    with pytest.raises(SystemExit, match="device is 'abacus'"):
        script("fresh").measured(script("fresh").peclip("eval", device="abacus"))


def test_commands_of_bench_leave_out_what_is_not_given(script):
    words = script("fresh").peclip("train", classes=7, out=None)
    assert words == ["-m", "peclip", "bench", "train", "--classes", 7]
