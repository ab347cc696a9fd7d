"""Clips that lists name."""

import pytest

from tests.data.lists.written import clips


@pytest.fixture
def frames(tmp_path):
    return clips(tmp_path, *(f"frames/{number:05d}" for number in range(1, 9)))
