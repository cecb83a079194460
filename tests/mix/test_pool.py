"""The pool: the same bytes however it is made, what is finished is not done again, nothing goes uncounted."""

import json

import numpy as np
import pytest

from align.errors import ConfigError, DataError
from align.mix import Template, raw
from align.mix.part import Part, check_part, check_text, parts, render_part
from align.mix.pool import build, check
from align.schema import MultitaskRow

ASK = Template("ask", "{{ word }}? ||| {{ word }}{{ tail }}", "t.yaml:1")
TELL = Template("tell", "Say {{ word }}. ||| {{ tail }}", "t.yaml:2")
DRAWS = Template("draws", "{{ word }} {{ [1, 2, 3, 4, 5, 6, 7, 8, 9] | choice }} ||| {{ tail }}", "t.yaml:3")


def made(pool):
    return [MultitaskRow.model_validate_json(line) for line in pool.lines(np.arange(len(pool)))]


def test_the_bytes_do_not_depend_on_the_number_of_processes(source, tmp_path):
    found = parts([(source(code, 50), template) for code in ("en", "sw") for template in (ASK, DRAWS)])
    texts = []
    for workers in (1, 2, 3):
        pool = build(found, tmp_path / str(workers), seed=3, cap=40, workers=workers)
        texts.append((pool.path.read_bytes(), pool.keys.tobytes(), pool.part.tobytes()))
    assert texts[0] == texts[1] == texts[2]
    other = build(found, tmp_path / "other", seed=4, cap=40, workers=1)
    assert other.path.read_bytes() != texts[0][0]


def test_small_files_start_no_process(source, tmp_path, monkeypatch):
    monkeypatch.setattr("align.clean.workers.ProcessPoolExecutor", None)
    found = parts([(source("en", 9), ASK)])
    check(found, 0)
    assert len(build(found, tmp_path / "p", seed=0)) == 9
    monkeypatch.setattr("align.mix.pool.SMALL", 99)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    with pytest.raises(TypeError):
        build(found, tmp_path / "q", seed=0)


def test_a_row_is_read_at_any_place(pool):
    found = pool({"en": 20, "zh": 30})
    rows = np.array([49, 0, 20, 20])
    assert [json.loads(line)["targets"] for line in found.lines(rows)] == ["zh29s", "en0s", "zh0s", "zh0s"]
    assert [row.language for row in made(found)] == ["en"] * 20 + ["zh"] * 30
    assert found.characters.tolist() == [len(row.targets) for row in made(found)]


def test_a_cap_keeps_rows_by_the_seed_in_their_order_and_counts_the_others(source, tmp_path):
    found = parts([(source("en", 200), ASK), (source("en", 100, task="more"), ASK), (source("sw", 30), ASK)])
    kept = []
    for seed in (1, 2):
        pool = build(found, tmp_path / str(seed), seed=seed, cap=50, workers=1)
        assert np.bincount(pool.part).tolist() == [50, 50, 30]
        assert [dict(some) for some in pool.dropped] == [{"over_cap": 150}, {"over_cap": 50}, {}]
        kept.append([int(row.inputs[2:-1]) for row in made(pool)[:50]])
        assert kept[-1] == sorted(kept[-1])
    assert kept[0] != kept[1]
    assert kept[0] != list(range(50))


def test_a_cap_is_for_a_data_set_though_it_stands_in_several_files(source, tmp_path):
    first, second = source("en", 60), source("en", 40, task="words2")
    second = raw(second.path, task="words")
    pool = build(parts([(first, ASK), (second, ASK), (first, TELL)]), tmp_path / "p", seed=0, cap=50, workers=1)
    counts = np.bincount(pool.part)
    assert counts[0] + counts[1] == 50
    assert counts[0] > 0 < counts[1]
    assert counts[2] == 50


def test_what_is_dropped_is_counted_by_reason(source, tmp_path):
    long, short = source("en", 5, tail="ing"), source("sw", 5, tail="")
    pool = build(parts([(long, ASK), (short, TELL), (short, ASK)]), tmp_path / "p", seed=0, min_target_characters=6)
    assert [dict(some) for some in pool.dropped] == [{}, {"empty_target": 5}, {"short_target": 5}]
    assert len(pool) == 5
    assert pool.examples["empty_target"].startswith("words.sw.jsonl:1: ")


def test_a_finished_part_is_not_rendered_again(source, tmp_path, monkeypatch):
    part = Part(0, source("en", 5), ASK)
    first = render_part(part, tmp_path / "parts", 1)
    monkeypatch.setattr(Part, "rows", lambda *_: pytest.fail("rendered again"))
    assert render_part(part, tmp_path / "parts", 1) == first
    with pytest.raises(pytest.fail.Exception, match="again"):
        render_part(part, tmp_path / "parts", 2)


def test_a_finished_pool_is_opened_and_another_one_is_made_anew(source, tmp_path, monkeypatch):
    found = parts([(source("en", 5), ASK)])
    first = build(found, tmp_path / "p", seed=1, workers=1)
    monkeypatch.setattr("align.mix.pool.render_part", lambda *_, **__: pytest.fail("rendered again"))
    assert build(found, tmp_path / "p", seed=1, workers=2).origins.tolist() == first.origins.tolist()
    for changed in ({"seed": 2}, {"seed": 1, "cap": 3}):
        with pytest.raises(pytest.fail.Exception, match="again"):
            build(found, tmp_path / "p", **changed, workers=1)


def test_a_part_left_in_the_middle_is_rendered_whole(source, tmp_path):
    part = Part(0, source("en", 5), ASK)
    whole = render_part(part, tmp_path / "parts", 1)
    whole.stem.with_suffix(".json").unlink()
    whole.lines.write_text("torn")
    assert render_part(part, tmp_path / "parts", 1).lines.read_bytes().count(b"\n") == 5


def test_no_row_left_says_why(source, tmp_path):
    with pytest.raises(DataError, match=r"no row is left of 1 sources and templates \(empty_target words.sw.jsonl:1"):
        build(parts([(source("sw", 3, tail=""), TELL)]), tmp_path / "p", seed=0, workers=1)
    with pytest.raises(DataError, match=r"no row is left of 1 sources and templates \(3 short_target\)"):
        build(parts([(source("sw", 3), TELL)]), tmp_path / "q", seed=0, min_target_characters=999, workers=1)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (Template("t", "{{ wrod }} ||| x", "t.yaml:1"), "no column 'wrod' in .*: did you mean 'word'"),
        (
            Template(
                "t", "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}||| x", "t.yaml:1"
            ),
            "it takes over 1,000,000 steps",
        ),
        (None, "no column 'inputs'"),
    ],
)
def test_what_does_not_fit_is_refused_before_all_is_rendered(source, template, says):
    with pytest.raises((ConfigError, DataError), match=says) as caught:
        check_part(Part(0, source("en", 30), template), 0)
    assert "\n" not in str(caught.value)


def test_a_wrong_byte_at_the_end_is_found_before_all_is_rendered(source, tmp_path):
    made = source("en", 30)
    with open(made.path, "ab") as file:
        file.write('{"word": "é", "tail": "x"}\n'.encode("latin-1"))
    with pytest.raises(DataError, match=r"words.en.jsonl:31: not UTF-8"):
        check(parts([(made, ASK)]), 0, 1)


def test_a_letter_on_the_border_of_two_chunks_is_text(tmp_path, monkeypatch):
    monkeypatch.setattr("align.mix.part.CHUNK", 3)
    (tmp_path / "a.jsonl").write_text("ab中文é")
    check_text(str(tmp_path / "a.jsonl"))
    with open(tmp_path / "a.jsonl", "ab") as file:
        file.write("中".encode()[:2])
    with pytest.raises(DataError, match=r"a\.jsonl:1: not UTF-8 text \(byte 11 of the line\)"):
        check_text(str(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("packed", [False, True])
def test_every_row_is_written_in_its_place_over_any_number_of_writes(pool, tmp_path, monkeypatch, packed):
    monkeypatch.setattr("align.mix.pool.AT_ONCE", 7)
    found = pool({"en": 20})
    order = np.random.default_rng(0).integers(20, size=45)
    packs = np.arange(45) // 4 if packed else None
    found.write(tmp_path / "rows.jsonl", order, packs)
    written = [MultitaskRow.model_validate_json(line) for line in (tmp_path / "rows.jsonl").read_bytes().splitlines()]
    everything = made(found)
    expected = [everything[place] for place in order]
    assert [row.model_copy(update={"pack": None}) for row in written] == expected
    assert [row.pack for row in written] == ([None] * 45 if packs is None else packs.tolist())
