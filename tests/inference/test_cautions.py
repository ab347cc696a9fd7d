from dataclasses import replace

import numpy as np
import pytest
import torch

from peclip.demo import CLIP
from peclip.errors import InputError
from peclip.inference.answers import Finished
from peclip.inference.cautions import (
    SYNTHETIC,
    UNTRAINED_DEMO,
    ZERO_SHOT,
    about_faces,
    brightness,
    of_answer,
    of_model,
    timed,
)
from peclip.inference.recognize import _warnings
from peclip.inference.recognizer import Recognizer
from peclip.inference.trained import zero_shot
from peclip.inference.windows import Box
from peclip.model import PEClip

FACE = Box(0, 0, 100, 100)


def test_the_clip_of_the_demo_is_known_by_its_weights(tmp_path):
    moved = tmp_path / "a_clip_of_ones_own"
    moved.symlink_to(CLIP)
    for backbone in ("demo", str(moved)):
        assert of_model(PEClip(["anger", "fear"], backbone)) == SYNTHETIC


def test_zero_shot_is_named(tiny_clip):
    assert of_model(zero_shot(backbone=str(tiny_clip))) == ZERO_SHOT
    assert of_model(zero_shot(backbone="demo")) == UNTRAINED_DEMO


def test_a_trained_model_needs_no_caution(net):
    assert of_model(net) == Recognizer(net, "none").caution == ""


@pytest.mark.parametrize(
    ("box", "bright", "seconds", "found"),
    [
        (FACE, 120, 2, ()),
        (FACE._replace(width=30, height=35), 120, 2, ("small face",)),
        (FACE, 20, 2, ("dark face",)),
        (FACE, 240, 2, ("overexposed face",)),
        (FACE, 120, 0.2, ("seen for a moment",)),
        (Box(0, 0, 9, 9), 3, 0.04, ("small face", "dark face", "seen for a moment")),
    ],
)
def test_what_makes_an_answer_worth_less_is_named(box, bright, seconds, found):
    assert of_answer(box, bright, seconds) == found
    of_whole_frames = tuple(name.replace("face", "picture") for name in found)
    assert of_answer(box, bright, seconds, is_face=False) == of_whole_frames


@pytest.mark.parametrize(
    ("labels", "faces", "found"),
    [
        (["happiness", "waving"], "none", True),
        (["waving"], "none", False),
        (["waving"], None, False),
        (["waving"], "yunet", True),
    ],
)
def test_answers_are_about_faces_but_for_whole_frames_of_another_task(labels, faces, found):
    assert about_faces(labels, faces) == found


def test_brightness_is_that_of_the_eye():
    clip = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    clip[:, 1] = 255
    assert brightness(clip) == pytest.approx(0.587 * 255)


def test_rows_carry_their_cautions(net):
    frames = [(i / 25, np.full((20, 20, 3), 10, np.uint8)) for i in range(5)]
    (row,) = Recognizer(net, "none").rows(frames, "a")
    assert row.cautions == ("small face", "dark face", "seen for a moment")
    assert replace(row, cautions=()) != row


def test_seen_for_a_moment_is_less_than_half_a_second_wherever_the_window_ends(net):
    def detect(frame: np.ndarray) -> np.ndarray:
        return np.array([[10, 10, 60, 60]] if frame.any() else np.zeros((0, 4)))

    for seen, cautions in ((10, ("seen for a moment",)), (20, ())):
        frames = [(i / 25, np.full((80, 80, 3), 99 * (i < seen), np.uint8)) for i in range(50)]
        row = next(row for row in Recognizer(net, detect).rows(frames, "a") if row.track)
        assert (row.end, row.cautions) == (pytest.approx(seen / 25), cautions)


def test_zero_shot_takes_labels_and_texts(tiny_clip, tmp_path):
    assert zero_shot(backbone=str(tiny_clip)).labels[0] == "happiness"
    assert zero_shot(["fear", "anger"], backbone=str(tiny_clip)).labels == ["fear", "anger"]
    (tmp_path / "texts.yaml").write_text("yes: a nod\nno: a shake\n")
    assert zero_shot(texts=tmp_path / "texts.yaml", backbone=str(tiny_clip)).labels == ["yes", "no"]


@pytest.mark.parametrize("content", ["", "- a nod\n- a shake\n"])
def test_a_file_without_texts_by_label_is_refused_as_one_of_texts(tmp_path, content):
    (tmp_path / "texts.yaml").write_text(content)
    with pytest.raises(InputError, match=r"texts\.yaml: expected a text, or a list of texts, for each label"):
        zero_shot(texts=tmp_path / "texts.yaml")


def test_a_single_class_is_refused_because_it_would_always_be_sure(tiny_clip):
    for labels in (["fear"], [""], []):
        with pytest.raises(InputError, match=f"labels is '{''.join(labels)}': an answer needs two classes or more"):
            zero_shot(labels, backbone=str(tiny_clip))


@pytest.mark.parametrize(
    ("seconds", "says"), [(0.04, "below 0.1 s"), (0.05, "0.1 s"), (0.44, "0.4 s"), (12.0, "12.0 s")]
)
def test_a_caution_does_not_claim_more_time_than_there_was(seconds, says):
    assert timed("dark face", seconds) == f"dark face ({says})"


def test_the_screen_and_the_tables_count_alike():
    videos = [Finished("a.mp4", "a", 10, 0, 1, 1, {"seen for a moment": 0.04}, 0)]
    assert [*_warnings(videos)] == [f"{timed('seen for a moment', 0.04)}; see the column caution"]


@pytest.mark.parametrize(
    ("style", "text"),
    [("names", "fear"), ("sentences", "an expression of fear"), ("a video of {label}", "a video of fear")],
)
def test_zero_shot_takes_texts_by_style_and_template_too(tiny_clip, style, text):
    net = zero_shot(["anger", "fear"], style, str(tiny_clip))
    assert net.config.texts["fear"] == text


def test_a_typo_of_a_class_and_a_file_that_is_not_there_are_named(tiny_clip):
    with pytest.raises(InputError, match=r"texts is missing 'sadnes' .*: did you mean sadness"):
        zero_shot(["fear", "sadnes"], None, str(tiny_clip))
    with pytest.raises(
        InputError,
        match=r"nosuch\.yaml: cannot be read \(No such file or directory\), expected a YAML file with a text",
    ):
        zero_shot(["fear", "anger"], "nosuch.yaml", str(tiny_clip))
