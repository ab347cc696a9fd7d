"""Random lists and manifests are read, and read back as written, or refused in one line; none hangs or swells."""

import pytest

from tests.stress.fuzz_lists import fuzz


@pytest.mark.parametrize("seconds", [1, pytest.param(600, marks=pytest.mark.stress)])
def test_random_lists_are_read_or_refused(seconds):
    findings, figures = fuzz(seconds, seed=0)
    assert findings == [], figures
