"""``peclip explain --faces``: what is explained of an uncropped video is the crop that recognition makes of its longest track."""

import numpy as np
import pytest
import torch

from peclip.clip_format import ClipFormat
from peclip.data.media.clip import clip_frames, segment_indices
from peclip.errors import InputError
from peclip.inference.crops import FoundFaces
from peclip.inference.explain.faces import read_face
from tests.lacking import YUNET, needs_yunet
from tests.media import write_video
from tests.runs import run
from tests.scenes import FPS, Visit, film

SEEN_LONGEST = "Of 2 faces the one seen longest is explained: 1.6 s of 1.6 s."


class Model:
    """All that the reader asks of a model."""

    clip_format = ClipFormat(num_frames=8, image_size=48)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A person on the right in all of 40 frames, a larger one on the left in the last 12."""
    path = tmp_path_factory.mktemp("uncropped") / "two people.mp4"
    visits = [Visit(4, 190, 90, range(40), speed=0.5), Visit(1, 10, 20, range(28, 40), side=160)]
    write_video(path, 40, frames=film(visits, 40), codec_options={"crf": "20"})
    return path


def right_face(frame):
    """A detector that knows where the person on the right is, but only there."""
    return np.array([[200.0, 110.0, 80.0, 80.0, 0.9]])


def nobody(frame):
    return np.zeros((0, 5))


class Once:
    def __init__(self):
        self.number = -1

    def __call__(self, frame):
        self.number += 1
        return right_face(frame) if self.number >= 39 else nobody(frame)


def crops_of_recognition(path, detect, start=None, end=None):
    faces = FoundFaces(48, detect)
    views = [faces.cut(seconds, frame, lambda *_: True) for seconds, frame in clip_frames(path, start, end)]
    return torch.stack([next(seen.crop for track, seen in view.faces.items() if track.number == 1) for view in views])


@pytest.mark.parametrize("detect", [right_face, pytest.param("yunet", marks=needs_yunet)])
def test_the_frames_are_those_that_recognition_crops_of_the_face_seen_longest(video, detect):
    if detect == "yunet":
        from peclip.inference.faces import YuNet

        detect = YuNet(str(YUNET))
    found, face = read_face(str(video), Model(), detect)
    assert found.frames == 40
    assert face == ("" if detect is right_face else SEEN_LONGEST)
    assert found.numbers.tolist() == segment_indices(40, 8).tolist()
    assert torch.equal(found.clip, crops_of_recognition(video, detect)[found.numbers])


def test_only_the_chosen_seconds_are_looked_at(video):
    found, face = read_face(str(video), Model(), right_face, 10 / FPS, 22 / FPS)
    assert (found.frames, face) == (12, "")
    assert torch.equal(found.clip, crops_of_recognition(video, right_face, 10 / FPS, 22 / FPS)[found.numbers])


@pytest.mark.parametrize(
    ("detect", "window", "says"),
    [
        (nobody, (), r"two people\.mp4: no face was found; a clip that is cropped"),
        (Once(), (0.0, 1.0), r"two people\.mp4: no face was found between start and end; a clip"),
        (Once(), (), r"two people\.mp4: its face is seen in one frame: expected two frames or more"),
    ],
)
def test_a_clip_without_a_face_is_one_line(video, detect, window, says):
    with pytest.raises(InputError, match=says):
        read_face(str(video), Model(), detect, *window)


@needs_yunet
def test_the_command_explains_the_face_of_an_uncropped_video_or_says_that_there_is_none(tiny_run, video, tmp_path):
    options = ("--faces", "--face_model", YUNET, "--model", tiny_run, "--curve_steps", "0", "--out", tmp_path / "out")
    result = run("explain", video, *options)
    assert (result.status, result.err) == (0, "")
    with np.load(tmp_path / "out/two people.npz") as found:
        assert found["numbers"].tolist() == [6, 20, 33]
        assert str(found["face"]) == SEEN_LONGEST
    assert SEEN_LONGEST in result.out
    assert f"<p>{SEEN_LONGEST}</p>" in (tmp_path / "out/two people.html").read_text()
    empty = tmp_path / "empty.mp4"
    write_video(empty, 10, frames=film([], 10))
    result = run("explain", *options[:-1], tmp_path / "none", "--faces", "yunet", empty)
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    assert "empty.mp4: no face was found" in result.err
    assert not (tmp_path / "none").exists()


def test_a_class_or_a_number_of_steps_that_cannot_be_is_said_before_any_frame_is_read(tiny_run, tmp_path):
    """The clip does not even exist."""
    for option, value, message in (
        ("--label", "typo", "label is 'typo': expected one of"),
        ("--curve_steps", "9999", "curve_steps is 9999: expected at most"),
    ):
        result = run("explain", tmp_path / "a.mp4", "--model", tiny_run, option, value)
        assert result.status == 2
        assert message in result.err
