import numpy as np
import pytest
from PIL import Image

from peclip.results.calibration import BINS, calibration, draw_calibration


def sure(confidence: float, clips: int) -> np.ndarray:
    return np.tile([confidence, 1 - confidence], (clips, 1))


def test_an_honest_model_has_no_error():
    probabilities = np.concatenate([sure(0.75, 4), sure(1.0, 3)])
    assert calibration(probabilities, np.array([0, 0, 0, 1, 0, 0, 0])).error == pytest.approx(0)


def test_the_error_is_the_mean_distance_over_the_clips():
    found = calibration(np.concatenate([sure(0.95, 6), sure(0.65, 2)]), np.array([0, 0, 0, 1, 1, 1, 0, 0]))
    assert found.error == pytest.approx((6 * 0.45 + 2 * 0.35) / 8)
    assert found.count.tolist() == [0, 0, 0, 0, 0, 0, 2, 0, 0, 6]
    assert found.accuracy[9] == 0.5


def test_bins_hold_every_probability_there_is():
    confidence = np.linspace(0.5, 1, 101)
    found = calibration(np.stack([confidence, 1 - confidence], axis=1), np.zeros(101, np.int64))
    assert found.count.sum() == 101
    assert len(found.count) == BINS
    assert calibration(np.zeros((0, 3)), np.zeros(0, np.int64)).error == 0


def test_the_picture_is_drawn_with_and_without_clips(tmp_path):
    for clips in (0, 5):
        draw_calibration(tmp_path / "a.png", calibration(sure(0.8, clips), np.zeros(clips, np.int64)), "test clips")
        assert Image.open(tmp_path / "a.png").size[0] > 400
