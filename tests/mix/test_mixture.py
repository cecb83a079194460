"""Mixtures: drawn shares are the weights', in their own unit; packed rows are whole; held-out texts never train."""

import json

import numpy as np
import pytest

from align.errors import DataError
from align.mix import Template
from align.mix.figures import by_set, by_task, show, total_dropped
from align.mix.mixture import Lengths, Settings, mix
from align.mix.part import parts
from align.mix.pool import build

ASK = Template("ask", "{{ word }}? ||| {{ word }}{{ tail }}", "t.yaml:1")
TELL = Template("tell", "Say {{ word }}. ||| {{ tail }}", "t.yaml:2")
SIZES = {"en": 400, "es": 200, "sw": 40}
WEIGHTS = {"en": 5, "es": 3, "sw": 2}


def lengths(pool, low, high, max_length=64):
    random = np.random.default_rng(0)
    prompts, targets = random.integers(low, high, (2, len(pool)))
    return Lengths(prompts, targets, max_length)


def languages(pool, rows):
    return [json.loads(line)["language"] for line in pool.lines(rows)]


def test_shares_are_exact_at_the_end_and_along_the_way(pool):
    made = mix(pool(SIZES), Settings(weights=WEIGHTS, size=500))
    assert made.drawn == {"en": 250, "es": 150, "sw": 100}
    found = languages(made.pool, made.order)
    for end in range(1, 501):
        assert abs(found[:end].count("sw") - 0.2 * end) < 1


def test_by_default_every_row_is_drawn_once(pool):
    made = mix(pool(SIZES), Settings())
    assert sorted(made.order.tolist()) == list(range(640))
    assert made.order.tolist() != list(range(640))


def test_a_set_capped_by_max_size_is_not_drawn_beyond_it(pool):
    made = mix(pool(SIZES), Settings(max_size=100))
    assert made.drawn == {"en": 100, "es": 100, "sw": 40}


def test_a_second_pass_is_in_another_order(pool):
    made = mix(pool({"en": 50}), Settings(size=100))
    assert sorted(made.order[:50]) == sorted(made.order[50:])
    assert made.order[:50].tolist() != made.order[50:].tolist()


def test_too_many_passes_are_refused(pool):
    with pytest.raises(DataError, match=r"set 'sw': 5.0 passes over its 40 examples, at most 4: size: 800 would fit,"):
        mix(pool(SIZES), Settings(weights=WEIGHTS, size=1000))
    assert mix(pool(SIZES), Settings(weights=WEIGHTS, size=800)).drawn["sw"] == 160


def test_held_out_rows_are_never_drawn_nor_others_of_their_text(source, tmp_path):
    one = source("en", 100)
    pool = build(parts([(one, ASK), (one, ASK)]), tmp_path / "p", seed=0, workers=1)
    made = mix(pool, Settings(validation=0.1, size=400))
    texts = [
        {(row["inputs"], row["targets"]) for row in map(json.loads, pool.lines(rows))}
        for rows in (made.order, made.held_rows)
    ]
    assert len(made.held_rows) == 20
    assert not texts[0] & texts[1]


def test_what_templates_make_of_a_row_of_data_is_held_out_together(source, tmp_path):
    found = [(source("en", 100), ASK), (source("en", 100), TELL), (source("en", 40, task="b"), ASK)]
    pool = build(parts(found), tmp_path / "p", seed=0, workers=1)
    made = mix(pool, Settings(by="source", validation=0.1, size=864))
    assert by_set(made)[0]["held_out"] == 4
    words = [
        {(row["inputs"].removeprefix("Say ").rstrip("?.")) for row in map(json.loads, pool.lines(rows))}
        for rows in (made.order, made.held_rows)
    ]
    assert len(words[0]) == 90
    assert not words[0] & words[1]


def test_packed_rows_are_the_unit_and_each_is_of_one_set(pool):
    found = pool(SIZES)
    made = mix(found, Settings(weights=WEIGHTS, unit="packed_row", size=50, max_repeats=9), lengths(found, 1, 6))
    assert made.drawn == {"en": 25, "es": 15, "sw": 10}
    assert np.unique(made.packs).tolist() == list(range(50))
    assert (np.diff(made.packs) >= 0).all()
    whole = np.bincount(made.packs, weights=made.lengths.whole[made.order])
    assert whole.max() <= 64
    assert made.fill == pytest.approx(whole.sum() / 3200)
    for number in range(50):
        assert len(set(languages(found, made.order[made.packs == number]))) == 1


def test_over_long_rows_are_left_out_and_counted(pool):
    found = pool(SIZES)
    given = lengths(found, 10, 40, max_length=50)
    long = int((given.whole > 50).sum())
    made = mix(found, Settings(unit="packed_row"), given)
    assert long
    assert given.whole[made.order].max() <= 50
    assert len(made.order) == 640 - long
    assert total_dropped(by_task(made)) == {"over_long": long}
    with pytest.raises(DataError, match="no row is left to draw of 640: 640 are over max_length"):
        mix(found, Settings(unit="packed_row"), Lengths(given.prompts, given.targets, 5))


def test_the_seed_is_all_that_the_order_depends_on(pool):
    found = pool(SIZES)
    orders = [mix(found, Settings(size=300, seed=seed)).order.tolist() for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_sets_may_be_tasks_or_sources(source, tmp_path):
    found = [(source(code, 10, task=task), ASK) for task in ("a1", "b1") for code in ("en", "zh")]
    pool = build(parts(found), tmp_path / "p", seed=0, workers=1)
    assert mix(pool, Settings(by="task")).names == ["a1", "b1"]
    assert mix(pool, Settings(by="source")).names == ["a1.en", "a1.zh", "b1.en", "b1.zh"]
    made = mix(pool, Settings(by="source", weights={"a1.en": 1, "a1.zh": 0, "b1.en": 0, "b1.zh": 1}, size=8))
    assert sorted(one.task for one in made.sources) == ["a1", "b1"]


def test_the_tables_hold_what_was_drawn(pool, capsys):
    found = pool(SIZES)
    made = mix(found, Settings(weights=WEIGHTS, size=200, validation=0.1), lengths(found, 1, 6))
    sets, tasks = by_set(made), by_task(made)
    assert [(one["set"], one["drawn"], one["expected"], one["share"], one["held_out"]) for one in sets] == [
        ("en", 100, 0.5, 0.5, 40),
        ("es", 60, 0.3, 0.3, 20),
        ("sw", 40, 0.2, 0.2, 4),
    ]
    assert sum(one["tokens"] for one in sets) == made.lengths.whole[made.order].sum()
    assert {one["truncated"] for one in sets} == {0}
    typical = made.lengths.targets[made.order[made.set_of[made.order] == 0]]
    assert sets[0]["target_tokens"] == {"mean": round(float(typical.mean()), 2), "median": float(np.median(typical))}
    assert [one["share"] for one in tasks] == [one["expected"] for one in tasks]
    show(made, sets, tasks)
    told = capsys.readouterr().out
    assert any(line.split()[:8] == ["es", "180", "20", "30.00", "%", "60", "30.00", "%"] for line in told.splitlines())
    assert "By task, in rows" in told
