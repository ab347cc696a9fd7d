"""The memory of a prediction in shards: it stays, and depends little on the length of the manifest."""

import pytest

from tests.stress.million import measure


def test_memory_stays_while_clips_are_predicted(tmp_path):
    (figures,) = measure(tmp_path, [6_000], workers=0)
    assert figures.late - figures.middle < 10


@pytest.mark.stress
def test_memory_stays_over_a_million_clips_and_is_little_for_their_manifest(tmp_path):
    short, long = measure(tmp_path, [100_000, 1_000_000], workers=2)
    assert long.late - long.middle < 20
    assert long.peak - short.peak < 200
