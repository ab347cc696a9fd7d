"""Files with random damage are read or refused in one line; none hangs, crashes or takes much memory."""

from functools import partial

import pytest

from tests.stress.fuzz import SECONDS, fuzz, read
from tests.stress.guarded import MOST_MEGABYTES, guarded

FOUND = (13_595, 17_548, 27_962, 32_178, 37_918)
"""Files of seed 0 that ended in an IndexError (times of packets, streams that begin late), took 4 GB, or a minute."""


@pytest.mark.slow
def test_what_was_found_once_is_read_or_refused(tmp_path):
    outcomes = guarded(partial(read, 0, tmp_path), FOUND, SECONDS)
    assert [(each.error, each.megabytes < MOST_MEGABYTES) for each in outcomes] == [("", True)] * len(FOUND)


@pytest.mark.slow
@pytest.mark.parametrize(("files", "seconds"), [(300, 60), pytest.param(100_000, 600, marks=pytest.mark.stress)])
def test_damaged_files_are_read_or_refused(files, seconds, tmp_path):
    findings, figures = fuzz(files, seconds, seed=0, keep=tmp_path)
    assert findings == [], figures
