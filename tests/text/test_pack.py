import itertools
import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from align.text.pack import fill, pack

lengths = st.lists(st.integers(1, 64), max_size=200)


@given(lengths, st.integers(0, 5), st.integers(1, 300))
def test_every_row_stands_whole_in_one_packed_row(found, seed, window):
    packed = pack(found, 64, seed=seed, window=window)
    assert sorted(row for rows in packed for row in rows.tolist()) == list(range(len(found)))
    assert all(sum(found[row] for row in rows) <= 64 for rows in packed)
    assert all(len(rows) for rows in packed)


@given(lengths)
def test_no_two_packed_rows_of_a_window_would_fit_into_one(found):
    sums = sorted(sum(found[row] for row in rows) for rows in pack(found, 64, seed=0))
    assert all(a + b > 64 for a, b in itertools.pairwise(sums))


def test_a_seed_is_one_packing_and_another_seed_another():
    found = np.random.default_rng(0).integers(1, 200, 2000)
    one, again, other = (pack(found, 512, seed=seed) for seed in (1, 1, 2))
    assert [rows.tolist() for rows in one] == [rows.tolist() for rows in again]
    assert [rows.tolist() for rows in one] != [rows.tolist() for rows in other]


def test_long_rows_stand_nowhere_in_particular():
    found = np.random.default_rng(0).integers(1, 200, 4000)
    packed = pack(found, 512, seed=0)
    first = np.array([found[rows[0]] for rows in packed], float)
    assert abs(np.corrcoef(first, np.arange(len(first)))[0, 1]) < 0.1
    longest_first = np.mean([found[rows].argmax() == 0 for rows in packed])
    assert longest_first < 0.6


@pytest.mark.parametrize("wrong", [[3, 0], [3, 65]])
def test_a_row_that_cannot_be_packed_is_refused(wrong):
    with pytest.raises(ValueError, match="in packed rows of 64"):
        pack(wrong, 64, seed=0)


def test_nothing_packs_to_nothing():
    assert pack([], 64, seed=0) == []


def shared_lengths(shared):
    """Bytes of the rows of the shared multitask data: as many as a byte-level tokenizer without merges gives."""
    folder = shared / "data" / "multitask"
    if not folder.is_dir():
        pytest.skip("ALIGN_TEST_DATA: no multitask data")
    texts = [
        " ".join(str(value) for value in json.loads(line).values())
        for path in [*folder.glob("xcopa/*.jsonl"), *folder.glob("t0_samples/*.jsonl")]
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    texts += [line for path in folder.glob("mgsm/*.tsv") for line in path.read_text(encoding="utf-8").splitlines()]
    return [len(text.encode()) for text in texts]


@pytest.mark.parametrize("bytes_per_token", [1, 4])
def test_the_shared_data_fills_packed_rows_of_2048_to_98_percent(shared, bytes_per_token):
    found = [max(1, length // bytes_per_token) for length in shared_lengths(shared)]
    fitting = [length for length in found if length <= 2048]
    assert len(fitting) > 5000
    assert fill(pack(fitting, 2048, seed=0), fitting, 2048) >= 0.98


def test_time_grows_with_the_rows_and_no_faster():
    generator = np.random.default_rng(0)
    taken = []
    for count in (20_000, 80_000):
        found = np.clip(generator.lognormal(4.5, 1.0, count).astype(int) + 1, 1, 2048)
        start = time.process_time()
        pack(found, 2048, seed=0)
        taken.append(time.process_time() - start)
    assert taken[1] < 10 * taken[0]
