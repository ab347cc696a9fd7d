"""The memory of a prediction in parts: it stays, and hardly depends on the length of the manifest."""

import pytest

from tests.stress.million import measure

PER_ROW = 400e-6
"""MB that a row of a manifest may take while it is read."""


@pytest.mark.parametrize("rows", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_memory_does_not_grow_in_a_prediction_nor_much_with_its_length(rows, tmp_path):
    short, long = measure(tmp_path, [rows // 10, rows], workers=1)
    assert long.late - long.early < 20
    assert long.peak - short.peak < 20 + PER_ROW * rows
