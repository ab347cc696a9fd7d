import numpy as np
import pytest
from PIL import Image

from peclip.results.calibration import (
    BINS,
    COLDEST,
    HOTTEST,
    calibrated,
    calibration,
    draw_calibration,
    fit_temperature,
)


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


def noisy(clips: int, classes: int, scale: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax at the temperature ``scale`` is how the truth is drawn."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(clips, classes)).astype(np.float32)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([draw.choice(classes, p=each / each.sum()) for each in shares])
    return logits * np.float32(scale), truth


@pytest.mark.parametrize("scale", [0.2, 1.0, 30.0])
def test_the_temperature_undoes_what_logits_are_too_large_by(scale):
    logits, truth = noisy(4000, 5, scale)
    assert fit_temperature(logits, truth) == pytest.approx(scale, rel=0.1)


def test_no_other_temperature_has_a_smaller_negative_log_likelihood():
    logits, truth = noisy(60, 3, 7.0)
    best = fit_temperature(logits, truth)
    loss = calibrated(logits, truth, best).nll_after
    assert all(loss < calibrated(logits, truth, best * other).nll_after for other in (0.5, 0.98, 1.02, 2))


def test_a_temperature_changes_no_prediction_and_lowers_the_error_of_a_model_that_is_too_sure():
    logits, truth = noisy(2000, 4, 20.0)
    found = calibrated(logits, truth, fit_temperature(logits, truth))
    assert found.ece_after < 0.04
    assert found.ece_before > 0.3
    assert found.nll_after < found.nll_before
    assert str(found).startswith(f"Calibration error (ECE): {found.ece_before:.2%} before, {found.ece_after:.2%} after")


def test_clips_that_are_all_right_prove_no_certainty():
    truth = np.arange(30) % 3
    assert fit_temperature(np.eye(3)[truth] * 4, truth) == 1
    assert fit_temperature(np.zeros((3, 2)), np.array([0, 1, 0])) == 1  # equal logits: no temperature matters
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, np.int64)) == 1


def test_the_temperature_is_bounded_where_all_clips_are_wrong():
    truth = np.arange(30) % 3
    assert fit_temperature(np.roll(np.eye(3), 1, axis=1)[truth] * 4, truth) == HOTTEST
    logits = np.tile([1e-4, 0.0], (50, 1))
    assert fit_temperature(logits, np.array([1, *[0] * 49])) == COLDEST


def test_clips_of_one_class_have_a_temperature():
    logits, _ = noisy(500, 3, 10.0)
    assert COLDEST < fit_temperature(logits, np.zeros(500, np.int64)) <= HOTTEST
