"""Files with random damage are read or refused in one line; none hangs, crashes or takes much memory."""

import pytest

from tests.stress.fuzz import fuzz


@pytest.mark.slow
@pytest.mark.parametrize(("files", "seconds"), [(300, 60), pytest.param(100_000, 600, marks=pytest.mark.stress)])
def test_damaged_files_are_read_or_refused(files, seconds, tmp_path):
    findings, figures = fuzz(files, seconds, seed=0, keep=tmp_path)
    assert findings == [], figures
