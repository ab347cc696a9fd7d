"""The synthetic face: each action unit moves its features, and a picture depends only on its description."""

import numpy as np
import pytest

from peclip.demo.acting import UNITS
from peclip.demo.face import ActionUnits, Artist, Pose, random_person, random_scene

# Where a unit must be seen, as rows of a picture of 96: brows and eyes above, nose and cheeks, mouth and jaw below.
UPPER, MIDDLE, LOWER = slice(10, 50), slice(35, 66), slice(60, 96)
PLACES = {
    "inner_brow_raiser": UPPER,
    "outer_brow_raiser": UPPER,
    "brow_lowerer": UPPER,
    "upper_lid_raiser": UPPER,
    "lid_tightener": UPPER,
    "cheek_raiser": MIDDLE,
    "nose_wrinkler": MIDDLE,
    "lip_corner_puller": LOWER,
    "lip_corner_depressor": LOWER,
    "lower_lip_depressor": LOWER,
    "lip_stretcher": LOWER,
    "lip_tightener": LOWER,
    "jaw_drop": LOWER,
}


@pytest.fixture
def artist() -> Artist:
    rng = np.random.default_rng(3)
    return Artist(random_person(rng), random_scene(rng), 96)


def change(artist: Artist, **units: float) -> np.ndarray:
    rest = artist.draw(Pose(), ActionUnits()).astype(int)
    return np.abs(artist.draw(Pose(), ActionUnits(**units)).astype(int) - rest).sum(2)


def test_every_unit_has_a_place_here():
    assert set(PLACES) == set(UNITS)


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_moves_its_part_of_the_face_and_more_when_stronger(artist, unit):
    weak, strong = change(artist, **{unit: 0.4}), change(artist, **{unit: 1.0})
    assert (strong > 60).sum() >= 20
    assert strong[PLACES[unit]].sum() > 0.6 * strong.sum()
    assert strong.sum() > weak.sum() > 0


def test_the_face_is_symmetric_when_it_looks_ahead(artist):
    rest = change(artist, lip_corner_puller=1.0)
    assert abs(rest[:, :48].sum() - rest[:, 48:].sum()) < 0.2 * rest.sum()


@pytest.mark.parametrize("pose", [Pose(blink=1.0), Pose(talk=1.0), Pose(yaw=0.2), Pose(x=0.1), Pose(roll=0.2)])
def test_a_pose_changes_the_picture(artist, pose):
    assert not np.array_equal(artist.draw(pose, ActionUnits()), artist.draw(Pose(), ActionUnits()))


def test_drawing_leaves_no_trace(artist):
    first = artist.draw(Pose(), ActionUnits())
    artist.draw(Pose(yaw=0.2), ActionUnits(jaw_drop=1.0))
    assert np.array_equal(artist.draw(Pose(), ActionUnits()), first)


def test_a_face_outside_the_picture_is_no_error(artist):
    assert artist.draw(Pose(x=9.0), ActionUnits()).shape == (96, 96, 3)


@pytest.mark.parametrize("seed", range(5))
def test_people_differ(seed):
    one, other = (
        Artist(random_person(np.random.default_rng(s)), random_scene(np.random.default_rng(0)), 48)
        for s in (seed, seed + 5)
    )
    assert not np.array_equal(one.draw(Pose(), ActionUnits()), other.draw(Pose(), ActionUnits()))
