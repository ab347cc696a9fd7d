"""Configurations in which a class or a function stands where it may not have no effect, wherever it stands."""

import json
from contextlib import nullcontext

import pytest
from jsonargparse import set_parsing_settings

from tests.stress import configurations
from tests.stress.configurations import Alive, Reader, canary, fuzz

BASE = {"data": {"manifest": "clips.csv"}, "trainer": {"accelerator": "cpu"}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seconds", "most", "seed"),
    [(60, 40, 0), pytest.param(600, None, 1, marks=pytest.mark.stress)],
    ids=["short", "long"],
)
def test_canaries_are_neither_called_nor_imported_nor_fetched(seconds, most, seed):
    found, counts = fuzz(seconds, seed, BASE, most)
    assert found == [], counts
    assert counts["refused"] > counts["accepted"] > 0
    if most is None:
        print(counts)


def test_without_the_guard_the_canary_is_called(tmp_path, monkeypatch):
    monkeypatch.setattr(configurations, "guarded", nullcontext)
    reader = Reader(BASE)
    set_parsing_settings(instantiate_subclass_spec_in_any=True)  # the default of jsonargparse
    spec = {"class_path": f"{Alive.__module__}.{Alive.__qualname__}"}
    board = {"class_path": "TensorBoardLogger", "init_args": {"save_dir": "x", "comment": json.dumps(spec)}}
    with canary(tmp_path) as bird:
        assert reader.read("trainer.logger", board) == "accepted"
        assert bird.happened(may_be_imported=False) == "called"
