"""McNemar's exact test, against counting every outcome and against SciPy."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest

from peclip.results.mcnemar import mcnemar, sign_p


def test_only_clips_that_one_run_recognized_count():
    first = np.array([True, True, True, True, False, False])
    other = np.array([True, False, False, False, True, False])
    found = mcnemar(first, other)
    assert (found.first_only, found.other_only) == (3, 1)
    # Of 16 ways to give four clips to two runs, 2 are 4 to 0, and 8 are 3 to 1.
    assert found.p == pytest.approx(10 / 16)


@pytest.mark.parametrize(("first", "other"), [(0, 0), (0, 1), (1, 0), (0, 5), (2, 7), (4, 4), (6, 5)])
def test_p_is_the_share_of_all_outcomes_that_are_at_least_as_uneven(first, other):
    coins = first + other
    uneven = [abs(2 * sum(way) - coins) >= abs(first - other) for way in product((0, 1), repeat=coins)]
    assert sign_p(first, other) == pytest.approx(np.mean(uneven))


@pytest.mark.parametrize(("first", "other"), [(30, 55), (480, 520), (900, 100), (20_000, 20_400), (3, 60_000)])
def test_many_clips_are_exact_as_well(first, other):
    assert sign_p(first, other) == pytest.approx(binomtest(first, first + other).pvalue, rel=1e-9)
