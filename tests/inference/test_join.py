"""Tracks of one person are brought together over cuts, and two people never."""

import csv
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from peclip.errors import InputError
from peclip.inference.faces import SFace, YuNet
from peclip.inference.join import Joiner, Looks, join
from peclip.inference.recognizer import Row
from tests.lacking import YUNET, needs, needs_yunet
from tests.media import write_video
from tests.runs import run
from tests.scenes import FPS, Visit, film

PERSON = {"a": [1.0, 0.0, 0.0], "b": [0.0, 1.0, 0.0], "like a": [0.8, 0.6, 0.0], "like both": [0.71, 0.71, 0.0]}


def looks(*tracks):
    """Return the looks of tracks from 1 on, each of a person and the seconds at which it appears and disappears."""
    return {
        number: Looks([*pairwise(times)][::2], 3 * np.array(PERSON[who]), 3)
        for number, (who, *times) in enumerate(tracks, 1)
    }


def test_tracks_of_one_person_get_the_smallest_number():
    cuts = looks(("a", 0, 2), ("b", 2, 4), ("a", 4, 6), ("b", 6, 8), ("like a", 8, 9))
    assert join(cuts, 0.75) == {1: 1, 3: 1, 5: 1, 2: 2, 4: 2}
    assert join(cuts, 0.85) == {1: 1, 3: 1, 2: 2, 4: 2}


def test_tracks_that_are_seen_together_stay_two_people_however_alike():
    assert join(looks(("a", 0, 2), ("a", 1.5, 4)), 0.5) == {}
    assert join(looks(("a", 0, 2), ("a", 1.95, 4)), 0.5) == {1: 1, 2: 1}, "pictures are mixed at a cut"
    found = join(looks(("a", 0, 2), ("a", 3, 4), ("like a", 3.5, 5)), 0.5)
    assert found == {1: 1, 2: 1}, "nor does a third track bring them together"


def test_tracks_of_which_one_is_seen_while_the_other_is_hidden_may_be_one_person():
    assert join(looks(("a", 0, 1.5, 2.6, 4), ("a", 1.5, 2.6)), 0.5) == {1: 1, 2: 1}
    assert join(looks(("a", 0, 1.5, 2.6, 4), ("a", 1.3, 2.6)), 0.5) == {}


def test_who_is_like_two_people_does_not_bring_them_together():
    found = join(looks(("a", 0, 1), ("b", 1, 2), ("like both", 2, 3)), 0.7)
    assert len({found.get(1, 1), found.get(2, 2)}) == 2


def test_the_order_and_number_of_tracks_do_not_matter():
    generator = np.random.default_rng(0)
    people = generator.normal(size=(12, 64))
    who = generator.integers(12, size=150)
    vectors = people[who] + 0.3 * generator.normal(size=(150, 64))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    numbers = join({n: Looks([(n, n + 0.9)], vector, 1) for n, vector in enumerate(vectors)}, 0.7)
    assert {(who[one], numbers[one]) for one in numbers} == {(person, list(who).index(person)) for person in who}
    assert len(numbers) == 150


def rows():
    """Return rows of two faces in turn, whose pictures differ in colour, and of a small one."""
    red, green = (torch.zeros(3, 8, 8, dtype=torch.uint8).index_fill(0, torch.tensor([c]), 200) for c in (0, 1))
    shots = [(1, red), (2, green), (3, red), (4, green)]
    found = [
        Row("a.mp4", track, 2.0 * place, 2.0 * place + 2, "fear", {"fear": 1.0}, picture=picture)
        for place, (track, picture) in enumerate(shots)
    ]
    return [*found, Row("a.mp4", None, 8, 9), replace(found[0], track=5, start=9, end=10, cautions=("small face",))]


def by_colour(picture):
    mean = picture.mean(axis=(0, 1))
    return mean / np.linalg.norm(mean)


def test_rows_wait_and_keep_their_pictures():
    read, numbers = Joiner(by_colour, 0.9).joined(rows())
    found = list(read)
    assert [row.track for row in found] == [1, 2, 1, 2, None, 5], "a small face is not compared"
    assert numbers == {1: 1, 3: 1, 2: 2, 4: 2}
    for row, before in zip(found, rows(), strict=True):
        assert (row.start, row.probabilities) == (before.start, before.probabilities)
        assert row.picture is before.picture or torch.equal(row.picture, before.picture)


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """A file in place of SFace's: coarse colours of the aligned face, less their mean."""
    pytest.importorskip("cv2", reason=needs("OpenCV"))
    onnx = pytest.importorskip("onnx", reason=needs("ONNX"))
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        make.make_node("AveragePool", ["data"], ["coarse"], kernel_shape=[14, 14], strides=[14, 14]),
        make.make_node("Flatten", ["coarse"], ["flat"]),
        make.make_node("ReduceMean", ["flat"], ["mean"], axes=[1], keepdims=1),
        make.make_node("Sub", ["flat", "mean"], ["fc1"]),
    ]
    ends = (
        make.make_tensor_value_info("data", kind, [1, 3, 112, 112]),
        make.make_tensor_value_info("fc1", kind, [1, 192]),
    )
    graph = make.make_graph(nodes, "stand_in", ends[:1], ends[1:])
    path = tmp_path_factory.mktemp("sface") / "sface.onnx"
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.mark.slow
@needs_yunet
def test_the_command_brings_people_together_in_all_tables(stand_in, tmp_path):
    visits = [Visit(1, 20, 60, range(30)), Visit(4, 190, 60, range(30, 60)), Visit(1, 20, 60, range(60, 90))]
    write_video(tmp_path / "cuts.mp4", 90, fps=FPS, frames=film(visits, 90))
    command = ("recognize", tmp_path / "cuts.mp4", "--backbone", "demo", "--face_model", YUNET, "--window", "1")
    joining = ("--face_features", stand_in, "--per_frame", "true", "--out", tmp_path / "out")
    result = run(*command, *joining)
    assert result.status == 0, result.err
    assert "brought together as one person: faces 1 and 3. With --face_features none" in result.err
    for name in ("summary.csv", "timeline.csv", "segments.csv", "frames.csv"):
        with (tmp_path / "out" / name).open() as file:
            table = list(csv.DictReader(file))
        assert {row["track"] for row in table} == {"1", "2"}, name
    spans = [range(30), range(30, 60), range(60, 90)]
    for number, frames in enumerate(spans):  # the table of frames
        assert {int(row["frame"]) for row in table if row["track"] == ("2" if number == 1 else "1")} >= {*frames[1:-1]}
    again = run(*command, *joining)
    assert "1 of 1 videos are finished" in again.err
    other = run(*command, "--out", tmp_path / "out")
    assert "holds answers with" in other.err.splitlines()[-1]
    assert "per_frame true, not false" in other.err.splitlines()[-1]
    apart = run(*command, "--out", tmp_path / "apart")
    assert "3 faces in 1 video" in apart.out


@needs_yunet
def test_what_is_not_sface_is_one_line(checkpoint, tmp_path):
    pytest.importorskip("cv2", reason=needs("OpenCV"))
    yunet = YuNet(str(YUNET))
    with pytest.raises(InputError, match="not the ONNX file of SFace"):
        SFace(str(YUNET), yunet)
    with pytest.raises(InputError, match="expected none, sface, or the ONNX file"):
        SFace(str(Path(tmp_path / "none.onnx")), yunet)
    result = run("recognize", "a.mp4", "--model", checkpoint, "--faces", "none", "--face_features", "sface")
    assert result.err.count("\n") == 1
    assert "omit --faces none" in result.err
