"""The arithmetic: quotas that sum up, an even order, whole passes, and texts that stay on one side."""

import numpy as np
import pytest

from align.errors import DataError
from align.mix.blend import check_passes, draw, hold_out, interleave, passes, quotas, together


@pytest.mark.parametrize("seed", range(20))
def test_quotas_are_exact_and_no_prefix_is_a_unit_off_its_share(seed):
    random = np.random.default_rng(seed)
    weights = random.random(random.integers(1, 50)) ** 4
    size = int(random.integers(1, 3000))
    counts = quotas(list(weights / weights.sum()), size)
    assert sum(counts) == size
    assert all(abs(count - size * weight) < 1 for count, weight in zip(counts, weights / weights.sum(), strict=True))
    sets, so_far = interleave(counts), np.arange(1, size + 1)
    for number, count in enumerate(counts):
        found = np.cumsum(sets == number)
        assert np.abs(found - so_far * count / size).max() < 1
        assert found[-1] == count


def test_remainders_go_to_the_largest_first():
    assert quotas([0.5, 0.3, 0.2], 4) == [2, 1, 1]
    assert quotas([1 / 3, 1 / 3, 1 / 3], 4) == [2, 1, 1]


def test_each_pass_has_every_unit_once_in_another_order():
    found = passes(10, 25, 1)
    assert sorted(found[:10]) == sorted(found[10:20]) == list(range(10))
    assert len(set(found[20:])) == 5
    assert found[:10].tolist() != found[10:20].tolist()
    assert passes(10, 25, 2).tolist() != found.tolist()
    assert len(passes(0, 0, 1)) == 0


def test_what_is_drawn_of_a_set_does_not_depend_on_the_others():
    sets, places = draw([5, 3], [10, 10], ["en", "sw"], 0)
    alone = draw([3], [10], ["sw"], 0)[1]
    assert places[sets == 1].tolist() == alone.tolist()


def test_a_share_of_each_set_is_held_out_and_one_text_is_on_one_side():
    random = np.random.default_rng(0)
    keys = random.integers(0, 3000, 10_000).astype(np.uint64)
    sets = random.integers(0, 3, 10_000)
    held = hold_out(keys, sets, 3, 0.1, 7)
    assert not set(keys[held]) & set(keys[~held])
    for number in range(3):
        assert held[sets == number].mean() == pytest.approx(0.1, abs=0.012)
    assert (hold_out(keys, sets, 3, 0.1, 8) != held).any()
    distinct = np.arange(1000, dtype=np.uint64)
    assert hold_out(distinct, np.zeros(1000, int), 1, 0.05, 7).sum() == 50


def test_rows_are_together_that_a_chain_of_keys_joins():
    random = np.random.default_rng(0)
    texts, rows = random.integers(0, 500, (2, 400)).astype(np.uint64)
    groups = together(texts, rows)
    for one in (texts, rows):
        assert all(len(set(groups[one == key])) == 1 for key in one)
    chain = np.arange(40, dtype=np.uint64)
    assert set(together(chain // 2, (chain + 1) // 2)) == {0}
    assert together(chain, chain // 4).tolist() == (chain // 4 * 4).tolist()
    assert len(together(chain[:0], chain[:0])) == 0


def test_a_group_over_the_share_trains():
    groups = np.array([7] * 900 + list(range(100, 200)), np.uint64)
    for seed in range(20):
        held = hold_out(groups, np.zeros(1000, int), 1, 0.05, seed)
        assert held.sum() == 50
        assert not held[0]


def test_a_set_is_never_held_out_whole():
    for size in range(1, 30):
        held = hold_out(np.arange(size, dtype=np.uint64), np.zeros(size, int), 1, 0.99, 0)
        assert not held.all()


def test_too_many_passes_say_what_would_fit():
    sizes, given = {"en": 1000, "sw": 10}, {"en": 0.9, "sw": 0.1}
    with pytest.raises(DataError, match=r"set 'sw': 10.0 passes over its 10 examples, at most 4: size: 400 would fit"):
        check_passes(sizes, {"en": 900, "sw": 100}, given, 4, "example")
    counts = dict(zip(sizes, quotas(list(given.values()), 400), strict=True))
    check_passes(sizes, counts, given, 4, "example")
    with pytest.raises(DataError, match=r"or 0.373 times its weight"):
        check_passes(sizes, {"en": 900, "sw": 100}, given, 4, "example")
    lighter = {"en": 0.9, "sw": 0.1 * 0.373}
    total = sum(lighter.values())
    fits = quotas([weight / total for weight in lighter.values()], 1000)
    check_passes(sizes, dict(zip(sizes, fits, strict=True)), given, 4, "example")
