"""The bootstrap, against hand-worked rates and against drawing clip by clip."""

import numpy as np
import pytest

from peclip.results.bootstrap import Outcomes, interval, observed, p_value, resample
from tests.train.evaluations import outcomes


def part(*runs):
    """The outcomes of runs that were given as (truth, predicted)."""
    return Outcomes(runs[0][0], np.stack([truth == predicted for truth, predicted in runs]))


def test_observed_rates_are_the_mean_over_the_test_sets():
    # By hand. First: 2 of 2 happy and 0 of 1 sad clips; second: 1 of 2 angry ones.
    first = Outcomes(np.array([0, 0, 1]), np.array([[True, True, False]]))
    second = Outcomes(np.array([2, 2]), np.array([[True, False]]))
    rates = observed([first, second], 4)
    assert rates.war[0, 0] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert rates.uar[0, 0] == pytest.approx(((1 + 0) / 2 + 1 / 2) / 2)
    np.testing.assert_allclose(rates.recalls[0, 0], [1, 0, 0.5, np.nan])


def test_drawing_by_kinds_is_drawing_clip_by_clip():
    truth, predicted = outcomes(120, 0.7)
    drawn = resample([part((truth, predicted))], 3, draws=20_000)
    rng = np.random.default_rng(1)
    wars, uars = [], []
    for _ in range(5_000):
        clips = rng.integers(0, len(truth), len(truth))
        right = truth[clips] == predicted[clips]
        wars.append(right.mean())
        uars.append(np.mean([right[truth[clips] == label].mean() for label in range(3)]))
    for mine, plain in ((drawn.war[:, 0], wars), (drawn.uar[:, 0], uars)):
        assert mine.mean() == pytest.approx(np.mean(plain), abs=0.003)
        assert interval(mine) == pytest.approx(interval(np.array(plain)), abs=0.009)


def test_the_clips_of_each_fold_are_resampled_within_it():
    fixed = Outcomes(np.zeros(50, dtype=int), np.ones((1, 50), dtype=bool))
    assert interval(resample([fixed, fixed], 1).war[:, 0]) == (1.0, 1.0)
    failed = Outcomes(np.zeros(50, dtype=int), np.zeros((1, 50), dtype=bool))
    assert interval(resample([fixed, failed], 1).war[:, 0]) == (0.5, 0.5)


def test_the_same_seed_draws_the_same():
    found = part(outcomes(60, 0.6))
    first, second, other = (resample([found], 3, draws=100, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.war, second.war)
    assert (first.war != other.war).any()


def test_a_class_without_a_clip_has_no_interval():
    drawn = resample([part(outcomes(30, 0.6))], 4, draws=100)
    assert interval(drawn.recalls[:, 0, 3]) is None
    assert not np.isnan(drawn.uar).any()


def test_runs_are_resampled_in_pairs():
    truth, predicted = outcomes(200, 0.6)
    better = predicted.copy()
    better[np.flatnonzero(predicted != truth)[:12]] = truth[np.flatnonzero(predicted != truth)[:12]]
    drawn = resample([part((truth, predicted), (truth, predicted), (truth, better))], 3)
    assert (drawn.war[:, 0] == drawn.war[:, 1]).all()
    low, high = interval(drawn.war[:, 2] - drawn.war[:, 0])
    assert 0 < low < 12 / 200 < high
    # Resampled independently, two such runs could not be distinguished.
    alone = resample([part((truth, better))], 3, seed=1).war[:, 0] - drawn.war[:, 0]
    assert interval(alone)[0] < 0


def test_p_is_twice_the_rarer_side_and_never_zero():
    differences = np.array([0.1] * 95 + [-0.1] * 4)
    assert p_value(differences) == pytest.approx(2 * (4 + 1) / (99 + 1))
    assert p_value(np.full(99, 0.1)) == pytest.approx(2 / 100)
    assert p_value(np.zeros(99)) == 1.0
