import csv
import json
import os
from collections.abc import Iterable, Iterator
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
TABLES = ["segments.csv", "summary.csv", "timeline.csv", "timeline.json"]


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


def write(folder: Path, videos: dict[str, Iterable[Row]], broken: frozenset[str] = frozenset()) -> Timeline:
    """Write the rows of videos; those named broken fail after their rows."""
    with Timeline(folder, LABELS, SETTINGS, "It knows drawings only: so beware.") as timeline:
        for file, rows in videos.items():
            try:
                with timeline.video(file) as add:
                    for row in rows:
                        add(row)
                    if file in broken:
                        raise InputError(f"{file} is broken")
            except InputError:
                assert file in broken
    return timeline


def test_the_table_has_a_row_per_window_and_face(tmp_path):
    timeline = write(tmp_path / "new" / "out", {"a.mp4": [face("a.mp4", 0), blank("a.mp4", 2)]})
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
    assert (timeline.rows, timeline.faces) == (2, 1)


def test_segments_and_summary_add_up(tmp_path):
    write(tmp_path, {"a.mp4": [face("a.mp4", 0), face("a.mp4", 1), blank("a.mp4", 3), face("a.mp4", 5)]})
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
    timeline = write(tmp_path, {"a.mp4": [long, replace(long, start=1, end=2.4), replace(moment, end=2.4)]})
    with (tmp_path / "summary.csv").open(newline="") as file:
        (person,) = csv.DictReader(file)
    assert person["caution"] == "It knows drawings only; seen for a moment (0.2 s)"
    assert timeline.cautions == {"seen for a moment": pytest.approx(0.2)}
    assert timeline.not_followed == 2


def test_every_face_has_a_picture_and_it_is_the_best_one(tmp_path):
    small, large = face("a.mp4", 0), face("a.mp4", 2)
    large = replace(large, box=Box(0, 0, 90, 90), picture=torch.full((3, 8, 8), 50, dtype=torch.uint8))
    write(tmp_path, {"a.mp4": [small, large, face("a.mp4", 4)], "b.mp4": [replace(small, file="b.mp4")]})
    assert sorted(os.listdir(tmp_path / "people")) == ["a-1.jpg", "b-1.jpg"]
    with Image.open(tmp_path / "people" / "a-1.jpg") as picture:
        assert np.asarray(picture).mean() == pytest.approx(50, abs=3)


def test_a_file_that_a_spreadsheet_would_compute_is_text_in_the_table(tmp_path):
    write(tmp_path, {name: [blank(name, 0)] for name in ("=a.mp4", "-")})
    with (tmp_path / "timeline.csv").open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["./=a.mp4", "-"]


def test_the_json_says_the_same(tmp_path):
    write(tmp_path, {"a.mp4": [face("a.mp4", 0)], "b.mp4": [blank("b.mp4", 0), face("b.mp4", 1)]})
    content = json.loads((tmp_path / "timeline.json").read_text())
    assert content["labels"] == LABELS
    assert content["model"] == "m"
    assert [row["file"] for row in content["rows"]] == ["a.mp4", "b.mp4", "b.mp4"]
    assert content["rows"][1] == {
        "file": "b.mp4",
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
    assert content["rows"][2]["face_box"] == [10, 20, 30, 40]
    assert content["rows"][2]["face_picture"] == "people/b-1.jpg"
    assert content["rows"][2]["probabilities"] == {"happiness": 0.25, "fear": 0.75}


@pytest.mark.parametrize("broken", [{"a.mp4"}, {"b.mp4"}, {"c.mp4"}, {"a.mp4", "b.mp4"}])
def test_of_a_video_that_fails_nothing_is_left(tmp_path, broken):
    videos = {file: [face(file, start) for start in range(100)] for file in ("a.mp4", "b.mp4", "c.mp4")}
    timeline = write(tmp_path, videos, frozenset(broken))
    whole = [file for file in videos if file not in broken]
    with (tmp_path / "timeline.csv").open() as table:
        files = [row["file"] for row in csv.DictReader(table)]
    assert files == [file for file in whole for _ in range(100)]
    assert len(json.loads((tmp_path / "timeline.json").read_text())["rows"]) == timeline.rows == 100 * len(whole)
    pictures = [file.replace("mp4", "png") for file in whole]
    assert sorted(os.listdir(tmp_path)) == sorted([*pictures, *TABLES, *(["people"] if whole else [])])
    for name in ("segments.csv", "summary.csv"):
        with (tmp_path / name).open() as table:
            assert [row["file"] for row in csv.DictReader(table)] == whole


def test_where_every_video_fails_nothing_is_written(tmp_path):
    write(tmp_path / "out" / "deep", {"a.mp4": [face("a.mp4", 0)]}, frozenset({"a.mp4"}))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_was_there_stays_when_a_run_ends_early(tmp_path, error):
    (tmp_path / "timeline.csv").write_text("of before")

    def rows() -> Iterator[Row]:
        yield face("a.mp4", 0)
        raise error

    with pytest.raises(error):
        write(tmp_path, {"a.mp4": rows()})
    assert os.listdir(tmp_path) == ["timeline.csv"]
    assert (tmp_path / "timeline.csv").read_text() == "of before"


def test_results_of_before_are_replaced(tmp_path):
    write(tmp_path, {"a.mp4": [face("a.mp4", 0)] * 50})
    write(tmp_path, {"a.mp4": [face("a.mp4", 0)]})
    assert len((tmp_path / "timeline.csv").read_text().splitlines()) == 2


def test_videos_of_one_name_have_pictures_of_their_own(tmp_path):
    write(tmp_path, {file: [face(file, 0)] for file in ("x/a.mp4", "y/a.mp4", "a.mov", "-")})
    assert {name for name in os.listdir(tmp_path) if name.endswith("png")} == {
        *("a.png", "a-2.png", "a-3.png", "stdin.png")
    }


def test_a_name_need_not_be_utf_8(tmp_path):
    name = os.fsdecode(b"caf\xe9.mp4")
    write(tmp_path, {name: [face(name, 0)]})
    assert b"caf\xe9.mp4,1," in (tmp_path / "timeline.csv").read_bytes()
    assert json.loads((tmp_path / "timeline.json").read_text())["rows"][0]["file"] == name


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "out.csv").touch()
    with pytest.raises(InputError, match=r"out .*out\.csv is a file"):
        write(tmp_path / "out.csv", {})
    with pytest.raises(InputError, match=r"out .*below: .*out\.csv is a file"):
        write(tmp_path / "out.csv" / "below", {})
    assert os.listdir(tmp_path) == ["out.csv"]


def test_a_place_that_cannot_be_written_is_named():
    with pytest.raises(InputError, match="out /proc/results: cannot be written"):
        write(Path("/proc/results"), {})


def test_of_a_start_that_fails_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(timeline, "JSON", "missing/timeline.json")
    with pytest.raises(InputError, match=r"out .*: cannot be written"):
        write(tmp_path, {})
    assert not list(tmp_path.iterdir())
