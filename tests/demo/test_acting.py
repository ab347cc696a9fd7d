"""Acting: the class texts can be rendered, and expressions appear and disappear over time."""

import numpy as np
import pytest

from peclip.class_texts import ACTION_UNITS
from peclip.demo.acting import UNITS, change, comes, expression, movement, turns, units_of
from peclip.labels import SEVEN


def test_units_are_read_from_a_class_text():
    assert units_of("Cheek Raiser, Lip Corner Puller.") == ["cheek_raiser", "lip_corner_puller"]
    assert units_of(ACTION_UNITS["neutral"]) == []


def test_the_texts_of_the_seven_can_be_rendered_and_all_differ():
    drawn = {label: tuple(units_of(ACTION_UNITS[label])) for label in SEVEN}
    assert len(set(drawn.values())) == 7


def test_a_text_that_cannot_be_rendered_names_its_unknown_unit():
    with pytest.raises(ValueError, match="ear_wiggler"):
        units_of("Jaw Drop, Ear Wiggler.")


@pytest.mark.parametrize("seed", range(20))
def test_a_turn_is_in_the_middle_third_of_the_clip_and_both_sides_are_about_as_long(seed):
    curve = turns(np.random.default_rng(seed), 100)
    assert (np.diff(curve) >= 0).all()
    assert (curve[:35] == 0).all()
    assert (curve[85:] == 1).all()
    assert 0.1 <= (curve > 0).argmax() / 100 <= 0.66
    assert 0.08 <= ((curve > 0) & (curve < 1)).mean() <= 0.21


@pytest.mark.parametrize("seed", range(20))
def test_a_face_turns_from_the_units_of_one_text_to_those_of_another(seed):
    before, after = ACTION_UNITS["happiness"], ACTION_UNITS["sadness"]
    first, *_, last = change(np.random.default_rng(seed), before, after, np.linspace(0, 1, 9))
    for face, text in ((first, before), (last, after)):
        for name in UNITS:
            low, high = (0.5, 0.95) if name in units_of(text) else (0, 0.2)
            assert low <= getattr(face, name) <= high


@pytest.mark.parametrize("seed", range(20))
def test_a_smile_that_comes_starts_at_rest_and_stays(seed):
    curve = comes(np.random.default_rng(seed), 24)
    assert curve[0] == 0
    assert curve[-1] == 1
    assert (np.diff(curve) >= 0).all()


@pytest.mark.parametrize("label", SEVEN)
def test_at_the_apex_the_units_of_the_text_stand_out(label):
    (apex,) = expression(np.random.default_rng(0), ACTION_UNITS[label], np.ones(1))
    for name in UNITS:
        assert (getattr(apex, name) > 0.4) == (name in units_of(ACTION_UNITS[label]))


def test_movement_has_blinks_and_speech_in_some_clips_and_stays_in_range():
    clips = [movement(np.random.default_rng(seed), 32) for seed in range(40)]
    assert 5 < sum(max(pose.talk for pose in clip) > 0.2 for clip in clips) < 35
    assert 5 < sum(max(pose.blink for pose in clip) > 0.9 for clip in clips) < 40
    for clip in clips:
        assert len(clip) == 32
        assert all(0 <= value <= 1 for pose in clip for value in (pose.blink, pose.talk, pose.pucker))
