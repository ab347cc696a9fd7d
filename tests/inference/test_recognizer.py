import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import peclip
from peclip.clip_format import UNIT_MEAN, UNIT_STD, ClipFormat
from peclip.data.augment import normalize
from peclip.data.media.clip import read_clip
from peclip.errors import InputError
from peclip.inference.faces import YuNet
from peclip.inference.recognizer import WAITING, Recognizer
from peclip.inference.sources import read_frames
from peclip.labels import SEVEN
from peclip.model import PEClip
from tests.inference.test_tracks import ONE, OTHER, scene
from tests.lacking import SHARED, YUNET, needs
from tests.media import write_video


def bright_boxes(frame: np.ndarray) -> np.ndarray:
    """Find synthetic faces: each run of columns that are not grey is a face 60 pixels high."""
    other = np.abs(frame[120].astype(int).mean(axis=1) - 128) > 12
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.convolve(other, np.ones(9)) > 0, [0]]).astype(int)))
    return np.array([[a - 4, 90, b - a - 4, 60] for a, b in edges.reshape(-1, 2) if b - a > 40], float).reshape(-1, 4)


def video_of(path: Path, *faces: tuple[float, range, np.ndarray], frames: int = 50) -> str:
    """Write 25 frames a second of faces: x, frames in which each is there, its look."""
    pictures = [scene(*((x, 120, 60, look) for x, there, look in faces if i in there))[0] for i in range(frames)]
    write_video(path, frames, fps=25, frames=np.stack(pictures))
    return str(path)


def test_peclip_offers_it_without_importing_torch():
    code = "import sys, peclip; assert 'Recognizer' in dir(peclip); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    assert peclip.Recognizer is Recognizer
    assert peclip.PEClip is PEClip
    with pytest.raises(AttributeError, match="Recognizr"):
        peclip.Recognizr  # noqa: B018


def test_a_clip_of_one_window_gets_the_logits_of_evaluation(net, tmp_path):
    write_video(tmp_path / "a.mp4", 45, fps=25, size=(48, 36))
    (row,) = Recognizer(net, faces="none")(tmp_path / "a.mp4")
    with torch.no_grad():
        expected = net(normalize(read_clip(tmp_path / "a.mp4", 4, 32)[None], ClipFormat())).softmax(1)[0]
    assert list(row.probabilities) == list(SEVEN)
    assert list(row.probabilities.values()) == pytest.approx(expected.tolist(), abs=0.02)
    assert row.label == SEVEN[expected.argmax()]
    assert (row.file, row.track, row.start, row.end, row.face_share) == (str(tmp_path / "a.mp4"), 1, 0, 1.8, 1)


def test_rows_end_with_a_video_of_which_every_other_frame_is_looked_at(net, tmp_path):
    write_video(tmp_path / "fast.mp4", 61, fps=60)  # the last frame is looked at
    assert [row.end for row in Recognizer(net, faces="none")(tmp_path / "fast.mp4")] == [pytest.approx(61 / 60)]


def test_pixels_are_normalised_as_in_training(net, tmp_path):
    write_video(tmp_path / "a.mp4", 10)
    (with_clip,) = Recognizer(net, faces="none")(tmp_path / "a.mp4")
    plain = deepcopy(net)
    plain.config = replace(net.config, clip_format=replace(net.clip_format, mean=UNIT_MEAN, std=UNIT_STD))
    recognizer = Recognizer(plain, faces="none")
    (without,) = recognizer(tmp_path / "a.mp4")
    clip = read_clip(tmp_path / "a.mp4", 4, 32)[None]
    with torch.no_grad():
        expected = net(normalize(clip, ClipFormat(mean=UNIT_MEAN, std=UNIT_STD))).softmax(1)[0].tolist()
    assert list(without.probabilities.values()) == pytest.approx(expected, abs=0.02)
    assert list(with_clip.probabilities.values()) != pytest.approx(expected, abs=0.02)


def test_every_window_has_a_row(net, tmp_path):
    video = video_of(tmp_path / "a.mp4", (160, range(60, 100), ONE), frames=150)
    rows = list(Recognizer(net, bright_boxes, window=1.0, stride=1.0)(video))
    assert [(row.track, row.start, row.end) for row in rows] == [
        (None, 0, 1),
        (None, 1, 2),
        (1, 2.4, 3),
        (None, 2, 2.4),
        (1, 3, 4),
        (None, 4, 5),
        (None, 5, 6),
    ]
    assert [row.face_share for row in rows] == [0, 0, pytest.approx(0.6), 0, 1, 0, 0]
    for row in rows:
        assert (row.label is None) == (row.probabilities == {}) == (row.track is None)
        if row.track:
            assert sum(row.probabilities.values()) == pytest.approx(1, abs=1e-5)
            assert row.label == max(row.probabilities, key=row.probabilities.get)


def test_every_face_of_a_window_has_a_row(net, tmp_path):
    video = video_of(tmp_path / "a.mp4", (80, range(50), ONE), (240, range(25, 50), OTHER))
    rows = list(Recognizer(net, bright_boxes, window=1.0, stride=1.0)(video))
    assert [(row.track, row.start, row.end) for row in rows] == [(1, 0, 1), (1, 1, 2), (2, 1, 2)]
    assert rows[1].probabilities != rows[2].probabilities


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_rows_do_not_depend_on_the_batch(net, tmp_path, batch_size):
    video = video_of(tmp_path / "a.mp4", (80, range(10, 60), ONE), (240, range(100), OTHER), frames=110)
    expected = list(Recognizer(net, bright_boxes, batch_size=3)(video))
    rows = list(Recognizer(net, bright_boxes, batch_size=batch_size)(video))
    for row, other in zip(rows, expected, strict=True):
        assert replace(row, probabilities={}) == replace(other, probabilities={})
        assert row.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_rows_come_as_the_video_is_read(net):
    read = []

    def frames():
        for i in range(1000):
            read.append(i)
            yield i / 10, np.zeros((8, 8, 3), np.uint8)

    rows = Recognizer(net, "none", window=1.0, stride=1.0, batch_size=2).rows(frames(), "live")
    row = next(rows)
    assert (row.file, row.track, row.start, row.end, row.face_share) == ("live", 1, 0, 1, 1.0)
    next(rows)
    assert 21 <= len(read) <= 21 + 10 * (WAITING + 1)  # a thread reads ahead, but not far


def test_a_video_without_frames_at_a_face_is_padded_to_t(net, tmp_path):
    write_video(tmp_path / "a.mp4", 1)
    (row,) = Recognizer(net, faces="none")(tmp_path / "a.mp4")
    clip = read_clip(tmp_path / "a.mp4", 4, 32)[None]
    with torch.no_grad():
        expected = net(normalize(clip, ClipFormat())).softmax(1)[0].tolist()
    assert list(row.probabilities.values()) == pytest.approx(expected, abs=0.02)


def test_a_checkpoint_is_loaded(net, checkpoint, tmp_path):
    write_video(tmp_path / "a.mp4", 10)
    (row,) = Recognizer(checkpoint, faces="none")(tmp_path / "a.mp4")
    (expected,) = Recognizer(net, faces="none")(tmp_path / "a.mp4")
    assert row.probabilities == pytest.approx(expected.probabilities, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"window": 0.0}, "window is 0"),
        ({"stride": 3.0}, "stride is 3"),
        ({"device": "abacus"}, "device is 'abacus'"),
        ({"device": "cuda:99"}, "device is 'cuda:99'"),
        ({"faces": "haar"}, "faces is 'haar'"),
    ],
)
def test_a_mistaken_option_is_named(net, options, named):
    with pytest.raises(InputError, match=named) as caught:
        Recognizer(net, **{"faces": "none", **options})
    assert "\n" not in str(caught.value)


def test_a_model_that_is_none_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("no model")
    for model in (tmp_path / "notes.txt", tmp_path, "missing/folder/of/a/run"):
        with pytest.raises(InputError, match=str(model)):
            Recognizer(model, faces="none")


@pytest.fixture(scope="module")
def real(net) -> Recognizer:
    """Recognize the videos of ../shared, whose truth was seen by eye."""
    pytest.importorskip("cv2", reason=needs("OpenCV"))
    if YUNET is None:
        pytest.skip(needs("YuNet"))
    if not (SHARED / "media").is_dir():
        pytest.skip(needs("real videos"))
    return Recognizer(net, face_model=str(YUNET))


@pytest.fixture(scope="module")
def rows(real):
    return lambda name: list(real(SHARED / "media" / name))


class EveryThird:
    """Finds the faces of every third frame, and takes them for those of the two frames that follow: three times as fast."""

    def __init__(self, detect):
        self.detect, self.number, self.found = detect, -1, None

    def __call__(self, frame):
        self.number += 1
        if self.number % 3 == 0:
            self.found = self.detect(frame)
        return self.found


@pytest.mark.parametrize(
    "name",
    [
        "happy",
        *(
            pytest.param(name, marks=pytest.mark.stress)
            for name in ("angry", "disgust", "fear", "neutral", "sadness", "surprise")
        ),
    ],
)
@pytest.mark.usefixtures("real")
def test_a_person_is_one_track(net, name):
    found = list(Recognizer(net, EveryThird(YuNet(str(YUNET))))(SHARED / "media/ai_generated" / f"{name}.mp4"))
    assert [(row.track, row.start, row.end, row.face_share) for row in found] == [
        (1, start, pytest.approx(start + 2), 1) for start in range(4)
    ]


def test_a_short_video_is_one_track(rows):
    found = rows("real_unlabelled/single_face.mp4")
    assert [(row.track, row.start, row.end) for row in found] == [(1, 0, 2), (1, 1, pytest.approx(2.4))]


@pytest.mark.stress
@pytest.mark.usefixtures("real")
def test_a_long_take_has_a_full_timeline(net):
    recognizer = Recognizer(net, EveryThird(YuNet(str(YUNET))))
    found = list(recognizer(SHARED / "media/real_unlabelled/WolfgangLanger_Pexels.mp4"))
    assert [(row.track, row.start) for row in found] == [(1, start) for start in range(19)]
    assert found[-1].end == pytest.approx(19.685, abs=0.05)
    assert all(row.face_share == 1 for row in found)


def test_a_video_without_a_face_has_rows_that_say_so(rows):
    found = rows("real_unlabelled/no_face.mp4")
    assert [(row.track, row.label, row.face_share, row.start) for row in found] == [
        (None, None, 0, start) for start in range(3)
    ]


@pytest.mark.stress  # synthetic people come and go in test_scenes
def test_a_face_that_goes_ends_its_track(rows):
    found = rows("real_unlabelled/face_noface.mov")
    assert {row.track for row in found} == {1, None}
    assert max(row.end for row in found if row.track) == pytest.approx(2.4, abs=0.05)
    assert min(row.start for row in found if not row.track) == pytest.approx(2.4, abs=0.05)
    assert [row.start for row in found if not row.track][2:] == [3, 4, 5]


@pytest.mark.stress
def test_a_face_that_comes_begins_its_track(rows):
    found = rows("real_unlabelled/noface_face.mov")
    assert {row.track for row in found} == {1, None}
    assert min(row.start for row in found if row.track) == pytest.approx(3.945, abs=0.05)
    assert [row.start for row in found if not row.track] == [0, 1, 2, 3]
    assert max(row.end for row in found if not row.track) == pytest.approx(3.945, abs=0.05)


@pytest.mark.stress  # synthetic people follow each other in test_scenes
def test_people_that_follow_each_other_are_tracks_of_their_own(real):
    def frames():
        offset = 0.0
        for name in ("happy", "sadness", "fear"):
            for seconds, frame in read_frames(str(SHARED / "media" / "ai_generated" / f"{name}.mp4")):
                if seconds < 1:
                    yield offset + seconds, frame
            offset += 1

    found = list(real.rows(frames(), "cut"))
    assert {row.track for row in found} == {1, 2, 3}
    for track in (1, 2, 3):
        mine = [row for row in found if row.track == track]
        assert min(row.start for row in mine) == pytest.approx(track - 1, abs=0.05)
        assert max(row.end for row in mine) == pytest.approx(track, abs=0.05)


def test_a_thread_that_reads_ahead_changes_no_bit(monkeypatch, net, tmp_path):
    video = video_of(tmp_path / "a.mp4", (80, range(10, 60), ONE), (240, range(100), OTHER), frames=110)
    rows = list(Recognizer(net, bright_boxes)(video))
    monkeypatch.setattr("peclip.inference.recognizer.ahead", lambda items, *_, **__: items)
    assert list(Recognizer(net, bright_boxes)(video)) == rows
