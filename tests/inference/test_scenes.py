"""Faces in encoded videos, found by YuNet and followed: who is there from when to when, and where."""

import numpy as np
import pytest

from peclip.inference.faces import YuNet
from peclip.inference.recognizer import Recognizer
from peclip.inference.sources import read_frames
from tests.lacking import YUNET, needs, needs_yunet
from tests.media import write_video
from tests.scenes import FPS, Visit, film

pytest.importorskip("cv2", reason=needs("OpenCV"))
pytestmark = needs_yunet

FRAME = 1 / FPS

# as a phone or an editor writes them: suffix, and what write_video is given
ENCODINGS = {
    "H.264": (".mp4", {"codec_options": {"crf": "26"}}),
    "HEVC, turned": (
        ".mov",
        {"codec": "libx265", "codec_options": {"x265-params": "crf=28:log-level=none"}, "rotation": 90},
    ),
}


@pytest.fixture(scope="module")
def detect():
    return YuNet(str(YUNET))


@pytest.fixture
def tracks(net, tmp_path):
    """Return the expected tracks of the encoded film: the first and the last second of each."""

    def recognized(visits, frames, encoding="H.264"):
        rows = Recognizer(net, face_model=str(YUNET), window=1.0, stride=1.0)(
            encoded(tmp_path, visits, frames, encoding)
        )
        found = {}
        for row in rows:
            start, end = found.get(row.track, (row.start, row.end))
            found[row.track] = (min(start, row.start), max(end, row.end))
        return found

    return recognized


def encoded(folder, visits, frames, encoding="H.264"):
    """Write a film and return its path."""
    suffix, options = ENCODINGS[encoding]
    pictures = np.rot90(film(visits, frames), -options.get("rotation", 0) // 90, axes=(1, 2))
    write_video(folder / f"film{suffix}", frames, fps=FPS, frames=np.ascontiguousarray(pictures), **options)
    return str(folder / f"film{suffix}")


def seconds(frames):
    """Return the span from the first frame to the end of the last, with a tolerance of two frames."""
    return pytest.approx((frames.start * FRAME, frames.stop * FRAME), abs=2.01 * FRAME)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_face_that_moves_is_found_in_each_frame_where_it_is(encoding, detect, tmp_path):
    visit = Visit(who=1, x=20, y=60, frames=range(15), speed=9)
    for number, (_, frame) in enumerate(read_frames(encoded(tmp_path, [visit], 15, encoding))):
        (box,) = detect(frame)
        x, y, side = visit.place(number)
        assert box[:2] + box[2:4] / 2 == pytest.approx((x, y), abs=0.07 * visit.side)
        assert max(box[2:4]) == pytest.approx(side, rel=0.15)
        assert 0.7 < box[4] <= 1
    assert number == 14


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_person_who_moves_is_one_track(encoding, tracks):
    found = tracks([Visit(1, 20, 60, range(50), speed=3)], 50, encoding)
    assert found == {1: seconds(range(50))}


def test_two_people_side_by_side_are_two_tracks_from_left_to_right(tracks):
    found = tracks([Visit(3, 190, 50, range(30)), Visit(1, 20, 60, range(30))], 30)
    assert found == {1: seconds(range(30)), 2: seconds(range(30))}


def test_a_room_without_people_has_no_track(tracks):
    assert set(tracks([], 30)) == {None}


def test_who_comes_and_leaves_is_followed_from_the_first_frame_to_the_last(tracks):
    found = tracks([Visit(4, 100, 60, range(30, 70))], 100)
    assert found[1] == seconds(range(30, 70))
    assert set(found) == {None, 1}


@pytest.mark.parametrize(("away", "people"), [(20, 1), (45, 2)])
def test_who_is_away_for_a_second_is_the_same_track_and_for_longer_another(away, people, tracks):
    found = tracks([Visit(1, 100, 60, range(20)), Visit(1, 100, 60, range(20 + away, 40 + away))], 40 + away)
    assert {track for track in found if track} == set(range(1, people + 1))
    assert max(end for _, end in found.values()) == pytest.approx((40 + away) * FRAME, abs=0.01)


def test_people_of_several_shots_are_tracks_of_their_own(tracks):
    """Each cut is to another face at the same place. These people look least alike, as a cut in a real film does."""
    shots = [range(30), range(30, 60), range(60, 90)]
    found = tracks([Visit(who, 100, 60, shot) for who, shot in zip((4, 17, 26), shots, strict=True)], 90)
    assert found == {number: seconds(shot) for number, shot in enumerate(shots, 1)}


def test_a_cut_and_back_finds_the_first_person_again(tracks):
    visits = [Visit(4, 100, 60, range(25)), Visit(17, 100, 60, range(25, 40)), Visit(4, 100, 60, range(40, 65))]
    assert tracks(visits, 65) == {1: seconds(range(65)), 2: seconds(range(25, 40))}
