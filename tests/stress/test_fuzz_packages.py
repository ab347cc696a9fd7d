"""Packages, checkpoints, released files and backbones from anyone are refused in one line, or become a model that answers."""

import pytest

from tests.stress.fuzz_packages import judge, prepare
from tests.stress.timed import fuzz


@pytest.mark.parametrize("seconds", [2, pytest.param(600, marks=pytest.mark.stress)])
def test_files_are_refused_or_answer(seconds):
    report = fuzz(judge, prepare, seconds, seed=0)
    assert report.findings == [], report.figures
    assert report.counts["refused"], report.figures
