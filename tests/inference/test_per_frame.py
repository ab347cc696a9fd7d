"""A row per frame and face: the right frame, place, person, and probabilities."""

import csv

import pytest
import torch

from peclip.inference.per_frame import PerFrame, faces_in_frames
from peclip.inference.recognizer import Recognizer, Row
from peclip.inference.windows import Box, Seen, View
from tests.media import write_video
from tests.runs import run


class Who:
    def __init__(self, number):
        self.number = number


def row(track, start, end, fear):
    return Row("a.mp4", track, start, end, "fear", {"fear": fear, "anger": 1 - fear}, cautions=(f"from {start}",))


def test_probabilities_are_interpolated_between_the_middles_of_the_windows():
    faces, who, unsure = PerFrame(2.0), Who(1), Who(None)
    for frame in range(10):
        seen = Seen(Box(frame, 0, 10, 10), 0.9, None)
        faces.see(frame, frame / 2, View({who: seen, unsure: seen}))
    found = [face for each in (row(1, 0, 2, 0.0), row(1, 1, 3, 1.0), row(1, 2, 4, 0.5)) for face in faces.add(each)]
    assert found == [], "later windows may have these frames"
    found = [*faces.add(Row("a.mp4", None, 5, 6)), *faces.finish()]
    assert [face.frame for face in found] == [*range(9)], (
        "no window has the last frame, and an unconfirmed face no number"
    )
    expected = [0, 0, 0, 0.5, 1.0, 0.75, 0.5, 0.5, 0.5]
    assert [face.probabilities["fear"] for face in found] == pytest.approx(expected, abs=1e-4)
    assert [face.box.left for face in found] == [*range(9)]
    assert found[3].cautions == ("from 0", "from 1")
    assert found[4].label == "fear"
    assert found[0].label == "anger"


def test_rows_of_many_frames_are_yielded_while_the_video_is_read():
    faces, who = PerFrame(2.0), Who(1)
    found = waiting = 0
    for second in range(200):
        for frame in range(25):
            faces.see(25 * second + frame, second + frame / 25, View({who: Seen(Box(0, 0, 9, 9), 0.9, None)}))
        found += len([*faces.add(row(1, second, second + 2, 0.5))])
        waiting = max(waiting, 25 * (second + 1) - found)
    assert waiting <= 5 * 25
    assert found + len([*faces.finish()]) == 5000


def test_the_table_says_what_python_yields(net, checkpoint, tmp_path):
    for name, frames in (("one", 40), ("two", 13)):
        write_video(tmp_path / f"{name}.mp4", frames)
    command = ("recognize", tmp_path / "one.mp4", tmp_path / "two.mp4", "--model", checkpoint, "--faces", "none")
    result = run(*command, "--per_frame", "true", "--precision", "32-true", "--out", tmp_path / "out")
    assert result.status == 0, result.err
    with (tmp_path / "out/frames.csv").open() as file:
        table = list(csv.DictReader(file))
    torch.manual_seed(0)
    recognizer = Recognizer(net, "none", precision="32-true")
    expected = [face for name in ("one", "two") for face in faces_in_frames(recognizer, str(tmp_path / f"{name}.mp4"))]
    assert [face.frame for face in expected] == [*range(40), *range(13)]
    assert len(table) == len(expected)
    for cells, face in zip(table, expected, strict=True):
        assert (int(cells["frame"]), cells["time"], cells["label"]) == (face.frame, f"{face.seconds:.3f}", face.label)
        assert float(cells["fear"]) == pytest.approx(face.probabilities["fear"], abs=2e-6)
        assert cells["face_score"] == "", "there is no detector"
