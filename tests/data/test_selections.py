"""Selections of a manifest's rows."""

from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from peclip.data.manifest import Manifest
from peclip.data.manifest import table as module


@pytest.fixture
def clips():
    rows = {"label": [*"abcab"], "subject": [*"uvuvw"], "fold": [1, 2, None, 1, 2], "start": [0.5, None, 2, 3, None]}
    more = {"fold_1": ["train", "test", "", "val", "train"], "p_a": 0.5, "p_b": 0.25, "p_c": 0.25}
    table = pd.DataFrame({"path": [f"{row}.mp4" for row in range(5)], **rows, **more, "line": range(2, 7)})
    return Manifest(table, Path("m.csv"), "clips", ["a note"])


@pytest.mark.parametrize("rows", ["none", "some", "all"])
def test_they_are_those_of_a_manifest_of_these_rows(clips, rows):
    which = pd.Series([rows == "all", rows != "none", rows != "none", rows == "all", rows == "all"])
    chosen, new = clips.select(which), Manifest(clips.table[which], clips.source, clips.root, clips.notes)
    assert_frame_equal(chosen.table, new.table)
    assert (chosen.source, chosen.root, chosen.notes) == (new.source, new.root, new.notes)


def test_rows_that_have_been_checked_are_not_checked_again(clips, monkeypatch):
    monkeypatch.setattr(module, "complete", lambda table: pytest.fail("converts the columns"))
    monkeypatch.setattr(Manifest, "_check_names", lambda clips: pytest.fail("checks the labels"))
    assert len(clips.select(clips.table["label"].eq("a"))) == 2


def test_changing_one_leaves_the_manifest_as_it_is(clips):
    chosen = clips.select(clips.table["label"].eq("a"))
    chosen.table["path"] = "other.mp4"
    assert list(clips.table["path"]) == [f"{row}.mp4" for row in range(5)]


def test_notes_are_added_to_a_copy(clips):
    noted = clips.with_notes("another", "a third")
    assert (noted.notes, clips.notes) == (("a note", "another", "a third"), ("a note",))
    assert noted.table is clips.table
    assert clips.with_notes() is clips
