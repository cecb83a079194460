"""Rates against the truth."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.testgen.figures import Measured, figures, kendall


def test_the_rates_of_a_small_table() -> None:
    one = Measured(3, 4, {(1.0, True): 6, (0.5, True): 2, (1.0, False): 1, (0.5, False): 3})
    found = figures([one, Measured(1, 1, {(1.0, True): 1})])
    assert (found.problems, found.cases, found.programs) == (2, 5, 13)
    assert found.precision == 4 / 5
    assert found.false_pass == 1 / 4
    assert found.false_fail == 2 / 9
    assert found.right_of_passing == 7 / 8
    assert found.tau_problems == 1


def test_rates_of_nothing_are_none() -> None:
    assert figures([]).row() == {
        "problems": 0,
        "cases": 0,
        "precision": None,
        "programs": 0,
        "false_pass": None,
        "false_fail": None,
        "right_of_passing": None,
        "tau": None,
        "tau_problems": 0,
    }


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans()), min_size=2, max_size=30))
def test_tau_is_scipy_s(pairs: list[tuple[float, bool]]) -> None:
    stats = pytest.importorskip("scipy.stats")
    found = kendall(Counter(pairs))
    shares, right = zip(*pairs, strict=True)
    if len(set(right)) == 1:
        assert found is None
    elif len(set(shares)) == 1:
        assert found == 0
    else:
        assert found == pytest.approx(stats.kendalltau(shares, right).statistic)
