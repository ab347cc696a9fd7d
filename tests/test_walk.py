"""A clip goes through the rooms in one direction, on its way from its file to metrics.json."""

import runpy
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.processes import called

TOOL = Path(__file__).parents[1] / "tools/walk.py"


@pytest.mark.slow
def test_the_clip_never_returns_to_a_room(tmp_path, tiny_run):
    given = (
        "test",
        "--ckpt_path",
        str(tiny_run),
        "--out",
        str(tmp_path / "results"),
        "--data.num_workers",
        "0",
        "--trainer.limit_test_batches",
        "1",
    )
    result = called(tmp_path, partial(print_walk, given))
    assert result.status == 0, result.err
    assert "Returns to an earlier room: 0" in result.out, result.out


def print_walk(arguments):
    """Print the walk of a command; its process ends after it, and with it the profiler hook."""
    tool().print_walk(arguments)


def tool():
    return SimpleNamespace(**runpy.run_path(str(TOOL)))


def test_the_walk_names_a_room_that_is_entered_again():
    there_and_back = ["data/dataset.py", "files.py", "data/batch.py", "model/peclip.py", "data/batch.py"]
    assert tool().returns(there_and_back) == ["data/batch.py"]
    assert tool().returns(there_and_back[:-1]) == []
