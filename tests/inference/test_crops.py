import numpy as np
import pytest
import torch

from peclip.data.media.clip import read_clip
from peclip.inference.crops import FASTEST, FoundFaces, WholeFrames, cut_out
from peclip.inference.tracks import Square
from peclip.inference.windows import MOST_FACES
from tests.media import write_video


def always(*_) -> bool:
    return True


def gradient(height: int, width: int) -> np.ndarray:
    """Draw red that grows to the right and green that grows to the bottom, one level a pixel."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x, y, np.zeros_like(x)], axis=2).astype(np.uint8)


def test_a_square_is_cut_out_and_scaled():
    crop = cut_out(gradient(200, 250), Square(100, 60, 40), 20)
    assert crop.shape == (3, 20, 20)
    assert crop.dtype == torch.uint8
    pixels = crop.numpy().astype(float)
    centres = (np.arange(20) + 0.5) * 2 - 0.5
    inner = slice(2, -2)
    assert pixels[0, :, inner] == pytest.approx(np.tile(80 + centres[inner], (20, 1)), abs=1)
    assert pixels[1, inner] == pytest.approx(np.tile(40 + centres[inner, None], (1, 20)), abs=1)


def test_beyond_the_frame_its_last_pixels_go_on():
    crop = cut_out(gradient(200, 250), Square(0, 199, 40), 40).numpy()
    assert (crop[0, :, :18] == 0).all()
    assert (crop[1, 22:] == 199).all()
    assert crop[0, :, 30] == pytest.approx(np.full(40, 10), abs=1)


@pytest.mark.parametrize("square", [Square(-500, -500, 30), Square(5, 5, 0.2), Square(125, 100, 900)])
def test_no_square_is_too_far_small_or_large(square):
    assert cut_out(gradient(200, 250), square, 16).shape == (3, 16, 16)


def test_whole_frames_are_what_training_reads(tmp_path):
    frames = write_video(tmp_path / "a.mp4", 4, size=(96, 64))
    expected = read_clip(tmp_path / "a.mp4", 4, 32)
    faces = WholeFrames(32)
    crops = [seen.crop for i, frame in enumerate(frames) for seen in faces.cut(i / 25, frame, always).faces.values()]
    assert (torch.stack(crops).int() - expected.int()).abs().float().mean() < 2


def test_faces_are_looked_for_at_most_so_often():
    for fps, looked_at in ((24, 24), (30, 30), (60, 30), (120, 30)):
        calls = []

        def detect(frame: np.ndarray, calls: list[int] = calls) -> np.ndarray:
            calls.append(1)
            return np.zeros((0, 4))

        faces = FoundFaces(8, detect)
        passed = [faces.cut(i / fps, np.zeros((9, 9, 3), np.uint8), always) is None for i in range(10 * fps)]
        assert len(calls) == pytest.approx(10 * looked_at, rel=0.08)
        assert passed.count(False) == len(calls)


def test_a_frame_that_comes_a_little_early_is_looked_at():
    faces = FoundFaces(8, lambda frame: np.zeros((0, 4)))
    times = [0, 2 * FASTEST, 2.5 * FASTEST]
    assert all(faces.cut(seconds, np.zeros((9, 9, 3), np.uint8), always) is not None for seconds in times)


def test_a_crop_that_is_not_wanted_is_not_made():
    faces = FoundFaces(8, lambda frame: np.array([[1.0, 1, 5, 5]]))
    (seen,) = faces.cut(0, np.zeros((9, 9, 3), np.uint8), lambda *_: False).faces.values()
    assert seen.crop is None


def test_the_box_is_that_of_the_face_and_has_the_score_of_the_detector():
    faces = FoundFaces(8, lambda frame: np.array([[10.0, 20, 30, 30, 0.8]]))
    (seen,) = faces.cut(0, np.zeros((99, 99, 3), np.uint8), always).faces.values()
    assert seen.box == pytest.approx((10, 20, 30, 30))
    assert seen.score == 0.8


def test_faces_that_are_not_followed_are_counted():
    crowd = np.array([[5.0 * i, 5, 4, 4] for i in range(MOST_FACES + 7)])
    view = FoundFaces(8, lambda frame: crowd).cut(0, np.zeros((99, 199, 3), np.uint8), always)
    assert (len(view.faces), view.not_followed) == (MOST_FACES, 7)
