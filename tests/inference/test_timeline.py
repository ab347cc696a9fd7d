import csv
import errno
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from peclip.errors import InputError
from peclip.inference import timeline
from peclip.inference.recognizer import Row
from peclip.inference.settings import Settings
from peclip.inference.timeline import Timeline
from peclip.inference.windows import Box

pytestmark = pytest.mark.usefixtures("blank_pictures")

LABELS = ["happiness", "fear"]
SETTINGS = Settings(peclip="0", model="m", faces="yunet", window=2.0, stride=1.0, precision="32-true")


def face(file: str, start: float) -> Row:
    return Row(
        *(file, 1, start, start + 2, "fear", {"happiness": 0.25, "fear": 0.75}, 0.5),
        box=Box(10, 20, 30, 40),
        score=0.9,
        brightness=100.0,
        not_followed=2,
        cautions=("small face",),
        picture=torch.full((3, 8, 8), 200, dtype=torch.uint8),
    )


def blank(file: str, start: float) -> Row:
    return Row(file, None, start, start + 1)


def write(folder: Path, rows: Iterable[Row], file: str = "a.mp4", formats: Sequence[str] = ()) -> Timeline:
    """Write the rows of a video."""
    caution = "It knows drawings only: so beware."
    with Timeline(folder, file, Path(file).stem, LABELS, SETTINGS, caution, formats) as timeline:
        for row in rows:
            timeline.add(row)
    return timeline


def test_the_table_has_a_row_per_window_and_face(tmp_path):
    timeline = write(tmp_path / "new" / "out", [face("a.mp4", 0), blank("a.mp4", 2)])
    assert (tmp_path / "new" / "out" / "timeline.csv").read_text().splitlines() == [
        (
            "file,track,start,end,label,happiness,fear,face_share,face_left,face_top,face_width,face_height,face_score,"
            "face_brightness,face_picture,faces_not_followed,caution"
        ),
        (
            "a.mp4,1,0.000,2.000,fear,0.250000,0.750000,0.500,10.0,20.0,30.0,40.0,0.900,100.0,people/a-1.jpg,2,"
            "It knows drawings only; small face"
        ),
        "a.mp4,,2.000,3.000,,,,0.000,,,,,,,,0,",
    ]
    assert (timeline.rows, len(timeline.persons)) == (2, 1)


def test_segments_and_summary_add_up(tmp_path):
    write(tmp_path, [face("a.mp4", 0), face("a.mp4", 1), blank("a.mp4", 3), face("a.mp4", 5)])
    assert (tmp_path / "segments.csv").read_text().splitlines() == [
        "file,track,start,end,seconds,label,probability,caution",
        "a.mp4,1,0.000,3.000,3.000,fear,0.750000,It knows drawings only; small face",
        "a.mp4,1,5.000,7.000,2.000,fear,0.750000,It knows drawings only; small face",
    ]
    assert (tmp_path / "summary.csv").read_text().splitlines() == [
        "file,track,picture,first,last,seconds,label,share_happiness,share_fear,mean_happiness,mean_fear,caution",
        (
            "a.mp4,1,people/a-1.jpg,0.000,7.000,5.000,fear,0.000000,1.000000,0.250000,0.750000,"
            "It knows drawings only; small face (5.0 s)"
        ),
    ]


def test_a_caution_counts_for_the_time_for_which_it_holds(tmp_path):
    """The last window has only 0.2 s of the 2.4 s of a face, half of what overlaps with the one before."""
    long, moment = replace(face("a.mp4", 0), cautions=()), replace(face("a.mp4", 2), cautions=("seen for a moment",))
    timeline = write(tmp_path, [long, replace(long, start=1, end=2.4), replace(moment, end=2.4)])
    with (tmp_path / "summary.csv").open(newline="") as file:
        (person,) = csv.DictReader(file)
    assert person["caution"] == "It knows drawings only; seen for a moment (0.2 s)"
    assert timeline.cautions == {"seen for a moment": pytest.approx(0.2)}
    assert timeline.not_followed == 2


def test_every_face_has_a_picture_and_it_is_the_best_one(tmp_path):
    small, large = face("a.mp4", 0), face("a.mp4", 2)
    large = replace(large, box=Box(0, 0, 90, 90), picture=torch.full((3, 8, 8), 50, dtype=torch.uint8))
    write(tmp_path, [small, large, face("a.mp4", 4), replace(small, track=2)])
    assert sorted(os.listdir(tmp_path / "people")) == ["a-1.jpg", "a-2.jpg"]
    with Image.open(tmp_path / "people" / "a-1.jpg") as picture:
        assert np.asarray(picture).mean() == pytest.approx(50, abs=3)


def test_a_file_that_a_spreadsheet_would_compute_is_text_in_the_table(tmp_path):
    for name, cell in (("=a.mp4", "./=a.mp4"), ("-", "-")):
        write(tmp_path / name, [blank(name, 0)], name)
        with (tmp_path / name / "timeline.csv").open(newline="") as file:
            assert [row["file"] for row in csv.DictReader(file)] == [cell]


def test_the_json_says_the_same(tmp_path):
    write(tmp_path, [blank("a.mp4", 0), face("a.mp4", 1)])
    content = json.loads((tmp_path / "timeline.json").read_text())
    assert content["labels"] == LABELS
    assert content["model"] == "m"
    assert [row["file"] for row in content["rows"]] == ["a.mp4", "a.mp4"]
    assert content["rows"][0] == {
        "file": "a.mp4",
        "track": None,
        "start": 0,
        "end": 1,
        "label": None,
        "probabilities": {},
        "face_share": 0,
        "face_box": None,
        "face_score": None,
        "face_brightness": None,
        "faces_not_followed": 0,
        "cautions": [],
        "face_picture": None,
    }
    assert content["caution"] == "It knows drawings only: so beware."
    assert content["rows"][1]["face_box"] == [10, 20, 30, 40]
    assert content["rows"][1]["face_picture"] == "people/a-1.jpg"
    assert content["rows"][1]["probabilities"] == {"happiness": 0.25, "fear": 0.75}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_of_a_video_that_fails_nothing_is_left(tmp_path, error):
    def rows() -> Iterator[Row]:
        yield face("a.mp4", 0)
        raise error

    with pytest.raises(error):
        write(tmp_path / "deep" / "out", rows())
    assert os.listdir(tmp_path) == []

    (tmp_path / "mine").mkdir()
    with pytest.raises(error):
        write(tmp_path / "mine", rows())
    assert [*tmp_path.rglob("*")] == [tmp_path / "mine"]


@pytest.mark.parametrize("place", ["file", "file/out"])
def test_a_file_is_no_folder_for_answers(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file, expected a folder"):
        write(tmp_path / place, [])


def test_the_segments_are_known_afterwards(tmp_path):
    timeline = write(tmp_path, [face("a.mp4", 0), face("a.mp4", 2)])
    assert [(each.label, each.start, each.end) for each in timeline.segments] == [(LABELS.index("fear"), 0, 4)]


@pytest.mark.parametrize("name", ["write_format", "draw_timeline"])
def test_where_the_last_files_cannot_be_written_nothing_is_left(tmp_path, monkeypatch, name):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(timeline, name, full)
    with pytest.raises(OSError, match="No space left on device"):
        write(tmp_path / "out", [face("a.mp4", 0)], formats=["srt"])
    assert os.listdir(tmp_path) == []


def test_of_a_start_that_fails_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(timeline, "JSON", "missing/timeline.json")
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "out", [])
    assert os.listdir(tmp_path) == []


def test_a_folder_with_something_in_it_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(InputError, match="is not empty: name another folder"):
        write(tmp_path, [])
    assert os.listdir(tmp_path) == ["mine.txt"]


def test_a_name_need_not_be_utf_8(tmp_path):
    name = os.fsdecode(b"caf\xe9.mp4")
    write(tmp_path, [face(name, 0)], name)
    assert b"caf\xe9.mp4,1," in (tmp_path / "timeline.csv").read_bytes()
    assert json.loads((tmp_path / "timeline.json").read_text())["rows"][0]["file"] == name
