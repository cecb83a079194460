import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.rank.bradley_terry import PRIOR, bradley_terry, win_chance
from align.rank.schedule import OPPONENTS, ROUND_ROBIN, schedule


def by_mm(n, wins, prior, rounds=20_000):
    """Hunter's minorisation–maximisation with one fixed opponent of strength 1."""

    def games(i, j):
        return wins.get((i, j), 0) + wins.get((j, i), 0)

    strength = [1.0] * n
    for _ in range(rounds):
        strength = [
            (sum(wins.get((i, j), 0) for j in range(n)) + prior)
            / (
                sum(
                    (wins.get((i, j), 0) + wins.get((j, i), 0)) / (strength[i] + strength[j])
                    for j in range(n)
                    if j != i
                )
                + 2 * prior / (strength[i] + 1)
            )
            for i in range(n)
        ]
    return [math.log(value) for value in strength]


def test_newton_finds_what_mm_finds():
    wins = {(0, 1): 1.0, (1, 2): 0.5, (2, 1): 0.5, (0, 2): 3.0, (3, 0): 1.0}
    assert bradley_terry(4, wins) == pytest.approx(by_mm(4, wins, PRIOR), abs=1e-8)


@pytest.mark.parametrize("games", [1.0, 1e3, 1e9])
def test_an_unbeaten_player_stays_finite_and_first(games):
    theta = bradley_terry(3, {(0, 1): games, (0, 2): games, (1, 2): games})
    assert all(map(math.isfinite, theta))
    assert theta[0] > theta[1] > theta[2]
    assert theta[1] == pytest.approx(0, abs=1e-6)


def test_circles_and_draws_are_equal_and_nobody_is_no_error():
    circle = [win_chance(value) for value in bradley_terry(3, {(0, 1): 1, (1, 2): 1, (2, 0): 1})]
    assert circle == pytest.approx([0.5] * 3)
    assert bradley_terry(2, {(0, 1): 0.5, (1, 0): 0.5}) == pytest.approx([0, 0])
    assert bradley_terry(2, {}) == [0, 0]
    assert bradley_terry(0, {}) == []


def test_without_a_prior_it_refuses():
    with pytest.raises(ValueError, match="prior 0 must be above 0"):
        bradley_terry(2, {}, prior=0)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 8), st.data())
def test_a_full_round_robin_is_ordered_by_points_whatever_the_numbering(n, data):
    wins = {}
    for i in range(n):
        for j in range(i + 1, n):
            won = data.draw(st.sampled_from([0.0, 0.5, 1.0]))
            wins[i, j], wins[j, i] = won, 1 - won
    theta = bradley_terry(n, wins)
    points = [sum(wins.get((i, j), 0) for j in range(n)) for i in range(n)]
    for i in range(n):
        for j in range(n):
            if points[i] == points[j]:
                assert theta[i] == pytest.approx(theta[j], abs=1e-8)
            else:
                assert (theta[i] > theta[j]) == (points[i] > points[j])
    order = data.draw(st.permutations(range(n)))
    renumbered = bradley_terry(n, {(order[i], order[j]): won for (i, j), won in wins.items()})
    assert [renumbered[order[i]] for i in range(n)] == pytest.approx(theta, abs=1e-8)


@pytest.mark.parametrize("n", [0, 1, 2, 5, ROUND_ROBIN])
def test_few_all_meet_once(n):
    assert len(set(schedule(n, 0))) == n * (n - 1) // 2


@pytest.mark.parametrize("n", [9, 10, 11, 12, 30, 101])
def test_many_meet_a_few_each_and_all_are_joined(n):
    pairs = schedule(n, 3)
    met = {index: [pair for pair in pairs if index in pair] for index in range(n)}
    assert all(first < second for first, second in pairs)
    assert {len(found) for found in met.values()} <= {OPPONENTS - 1, OPPONENTS}
    reached = {0}
    while grown := {one for pair in pairs if reached & set(pair) for one in pair} - reached:
        reached |= grown
    assert reached == set(range(n))
    assert pairs == schedule(n, 3)
    assert pairs != schedule(n, 4) or n < 10
