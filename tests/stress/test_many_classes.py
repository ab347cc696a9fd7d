"""A thousand classes are trained and reported in little memory."""

import pytest

from tests.stress.many_classes import commands


@pytest.mark.stress
def test_a_thousand_classes_take_less_than_two_gigabytes(tmp_path):
    for name, found in commands(tmp_path, 1000).items():
        assert found.status == 0, found.out
        assert found.megabytes < 2000, f"{name}: {found.megabytes:.0f} MB"
        assert len(found.out.splitlines()) < 60, name
    made = {path.name for path in (tmp_path / "runs/tiny/version_0").iterdir()}
    assert {"metrics.json", "confusion.csv", "confusion.png", "predictions.csv"} <= made
    assert max(path.stat().st_size for path in tmp_path.rglob("*.png")) < 1_000_000
