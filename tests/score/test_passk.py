"""pass@k against its definition, and intervals."""

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from align.score import mean_interval, paired_interval, pass_at_k


@given(st.integers(1, 7), st.data())
def test_it_is_the_share_of_k_subsets_that_hold_a_pass(n, data):
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    subsets = list(combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_it_does_not_overflow():
    n, c, k = 100_000, 3, 1000
    exact = 1 - comb(n - c, k) / comb(n, k)
    assert pass_at_k(n, c, k) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(("n", "c", "k"), [(5, 1, 6), (5, 1, 0), (5, 6, 1), (5, -1, 1)])
def test_impossible_numbers_are_refused(n, c, k):
    with pytest.raises(ValueError, match=r"passed|needs"):
        pass_at_k(n, c, k)


def test_an_interval_holds_its_mean_and_is_the_same_every_time():
    values = [0.0, 0.2, 1.0, 0.4, 0.9] * 8
    mean, low, high = mean_interval(values)
    assert low < mean < high
    assert mean == pytest.approx(0.5)
    assert (mean, low, high) == mean_interval(values)
    assert mean_interval(values, seed=1)[1:] != (low, high)


@pytest.mark.parametrize("count", [1, 7, 164, 1001])
def test_resamples_drawn_together_are_those_drawn_one_by_one(count):
    values = np.random.default_rng(1).random(count)
    draw = np.random.default_rng(0)
    means = [values[draw.integers(count, size=count)].mean() for _ in range(2000)]
    assert mean_interval(values) == (values.mean(), *np.percentile(means, [2.5, 97.5]))


def test_more_problems_narrow_the_interval_by_the_square_root():
    _, low, high = mean_interval([0.0, 1.0] * 50)
    _, low4, high4 = mean_interval([0.0, 1.0] * 200)
    assert (high - low) / (high4 - low4) == pytest.approx(2, rel=0.15)


def test_the_95_percent_interval_of_a_proportion_is_near_the_normal_one():
    _, low, high = mean_interval([1.0] * 300 + [0.0] * 700)
    half = 1.96 * (0.3 * 0.7 / 1000) ** 0.5
    assert (low, high) == (pytest.approx(0.3 - half, abs=0.004), pytest.approx(0.3 + half, abs=0.004))


def test_pairing_takes_the_problems_own_difficulty_out():
    easy_and_hard = [0.0, 1.0] * 50
    slightly_better = [value + 0.01 for value in easy_and_hard]
    difference, low, high = paired_interval(slightly_better, easy_and_hard)
    assert (difference, low, high) == pytest.approx((0.01, 0.01, 0.01))


def test_unequal_or_empty_values_are_refused():
    with pytest.raises(ValueError, match="same problems"):
        paired_interval([1.0], [1.0, 0.0])
    with pytest.raises(ValueError, match="no problem"):
        mean_interval([])
