"""Tracks that a person says are one face."""

import csv
from dataclasses import replace
from itertools import pairwise

import pytest

from peclip.errors import InputError
from peclip.inference.faces import YuNet
from peclip.inference.join import bring_together, read_same
from peclip.inference.recognizer import Recognizer, Row
from tests.lacking import YUNET, needs, needs_yunet
from tests.media import write_video
from tests.runs import run
from tests.scenes import FPS, Visit, film


def rows(*spans):
    return [Row("a.mp4", track, start, end, "fear", {"fear": 1.0}) for track, start, end in spans]


def test_groups_that_share_a_face_are_one():
    assert read_same(["3,7", "9, 4", "7,12"]) == {3: 3, 7: 3, 12: 3, 4: 4, 9: 4}


@pytest.mark.parametrize("group", ["3", "3,", "3, 03", "a,b", "0,1", "", "1;2", "²,3"])
def test_other_words_are_refused(group):
    with pytest.raises(InputError, match="expected two or more numbers of faces, such as 3,7"):
        read_same([group])


def test_rows_get_the_smallest_number_and_others_stay():
    found = bring_together(rows((3, 0, 2), (5, 0, 2), (7, 2, 4), (None, 4, 5)), {3: 3, 7: 3})
    assert [row.track for row in found] == [3, 5, 3, None]


def test_people_who_are_seen_together_are_not_one():
    with pytest.raises(
        InputError, match=r"shows the faces 3 and 7 at the same time, from 1\.0 s on: they are two people"
    ):
        list(bring_together(rows((3, 0, 2), (7, 1, 3)), {3: 3, 7: 3}))
    assert len(list(bring_together(rows((3, 0, 2), (7, 1.6, 3)), {3: 3, 7: 3}))) == 2, "a track ends after a cut"


def test_faces_of_which_one_is_seen_while_the_other_is_hidden_are_one():
    first, second = rows((3, 0, 4), (7, 1.5, 2.6))
    hidden = replace(first, absences=((1.5, 2.6),))
    assert [row.track for row in bring_together([hidden, second], {3: 3, 7: 3})] == [3, 3]
    with pytest.raises(InputError, match=r"at the same time, from 2\.0 s on"):
        list(bring_together([replace(first, absences=((1.5, 2.0),)), second], {3: 3, 7: 3}))


def test_a_number_that_no_face_has_is_refused():
    with pytest.raises(InputError, match="there is no face 7"):
        list(bring_together(rows((3, 0, 2)), {3: 3, 7: 3}))


@needs_yunet
def test_tables_and_pictures_follow(checkpoint, tmp_path):
    pytest.importorskip("cv2", reason=needs("OpenCV"))
    visits = [Visit(1, 20, 60, range(20)), Visit(2, 190, 60, range(20, 40)), Visit(1, 20, 60, range(40, 60))]
    write_video(tmp_path / "cuts.mp4", 60, fps=FPS, frames=film(visits, 60))
    tracks = {row.track for row in Recognizer(checkpoint, YuNet(str(YUNET)))(tmp_path / "cuts.mp4")} - {None}
    assert tracks == {1, 2, 3}
    command = ("recognize", tmp_path / "cuts.mp4", "--model", checkpoint, "--face_model", YUNET, "--window", "1")
    result = run(*command, "--out", tmp_path / "out", "--same", "1,3")
    assert result.status == 0, result.err
    with (tmp_path / "out/summary.csv").open() as file:
        persons = {row["track"]: row for row in csv.DictReader(file)}
    assert set(persons) == {"1", "2"}
    assert float(persons["1"]["seconds"]) == pytest.approx(1.6, abs=0.2)
    with (tmp_path / "out/segments.csv").open() as file:
        spans = sorted((float(row["start"]), float(row["end"])) for row in csv.DictReader(file) if row["track"] == "1")
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    assert sorted(path.name for path in (tmp_path / "out/people").iterdir()) == ["cuts-1.jpg", "cuts-2.jpg"]
    result = run(*command, "--out", tmp_path / "two", "--same", "1,2", "--same", "1,3")
    assert result.status == 0, "both options count"
    assert "1 face" in result.out
    write_video(tmp_path / "more.mp4", 5)
    result = run(*command[:2], tmp_path / "more.mp4", *command[2:], "--out", tmp_path / "three", "--same", "1,3")
    assert result.err.count("\n") == 1
    assert "same needs one video" in result.err
