"""Names of classes are refused in one line, or read back from every file."""

import pytest

from tests.stress.fuzz_labels import judge, prepare
from tests.stress.timed import fuzz


@pytest.mark.parametrize("seconds", [1, pytest.param(600, marks=pytest.mark.stress)])
def test_names_are_refused_or_read_back(seconds):
    report = fuzz(judge, prepare, seconds, seed=0)
    assert report.findings == [], report.figures
    assert report.counts["read back"], report.figures
