"""Persons that are chosen and merged."""

import pytest

from peclip.errors import InputError
from peclip.inference.app.merge import merged
from peclip.inference.recognizer import Row


def row(track, start, end):
    return Row("a.mp4", track, start, end, "fear", {"fear": 1.0})


ROWS = [row(1, 0, 2), row(2, 0, 4), row(3, 2.5, 4), Row("a.mp4", None, 4, 5)]


def test_faces_of_one_person_get_one_number_and_others_are_omitted():
    found = merged(ROWS, {1: 1, 3: 1})
    assert [(each.track, each.start) for each in found] == [(1, 0), (1, 2.5), (None, 4)]


def test_faces_that_are_seen_at_the_same_time_are_not_one_person():
    with pytest.raises(InputError, match="persons 1 and 2 are seen at the same time"):
        merged(ROWS, {1: 1, 2: 1, 3: 3})


def test_rows_are_in_order_of_time():
    assert [each.start for each in merged([row(2, 1, 3), row(1, 0, 1)], {1: 1, 2: 1})] == [0, 1]
