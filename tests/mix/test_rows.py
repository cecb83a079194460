"""Rows of one source: nothing is dropped without a count, and the same seed gives the same rows."""

import json
import time

import pytest

from align.errors import ConfigError, DataError
from align.mix import Rows, Template, raw

TEMPLATE = Template("ask", "{{ text }}? ||| {{ answer_choices[label] }}", "t.yaml:1", choices="yes ||| no")


def source(tmp_path, rows, name="demo.en.jsonl", **more):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return raw(path, **more)


def test_every_row_is_kept_or_counted(tmp_path):
    data = [
        {"text": "a", "label": 0},
        {"text": "b", "label": 1},
        {"text": "c", "label": -1},
        {"text": "d", "label": 5},
        {"text": "e"},
        {"text": "f", "label": "x y"},
        {"text": "\ud800", "label": 1},
        {"text": "z" * 1_000_001, "label": 1},
    ]
    made = Rows(source(tmp_path, data), TEMPLATE)
    rows = list(made)
    assert [(row.inputs, row.targets, row.task, row.language, row.template) for row in rows] == [
        ("a?", "yes", "demo", "en", "ask"),
        ("b?", "no", "demo", "en", "ask"),
    ]
    assert made.dropped == {"hidden_label": 1, "empty_target": 2, "missing_field": 1, "not_text": 1, "too_large": 1}
    assert made.kept + sum(made.dropped.values()) == len(data)
    assert "demo.en.jsonl:3: label is -1" in made.examples["hidden_label"]


def test_a_label_that_is_the_same_in_the_whole_split_is_hidden(tmp_path):
    constant = [{"text": f"t{n}", "label": 0} for n in range(50)]
    made = Rows(source(tmp_path, constant), TEMPLATE)
    assert list(made) == []
    assert made.dropped == {"constant_label": 50}
    # sorted by label, as many data sets are: not constant
    made = Rows(source(tmp_path, [*constant, {"text": "x", "label": 1}]), TEMPLATE)
    assert len(list(made)) == 51
    # too few rows to tell
    made = Rows(source(tmp_path, constant[:5]), TEMPLATE)
    assert len(list(made)) == 5


def test_rows_in_xp3s_form_pass_without_a_template(tmp_path):
    data = [
        {"inputs": "a", "targets": "b"},
        {"inputs": " ", "targets": "b"},
        {"inputs": "a", "targets": ""},
        {"inputs": "a", "targets": ["b"]},
        {"inputs": "a", "targets": ["b", "c"]},
    ]
    made = Rows(source(tmp_path, data))
    assert [(row.inputs, row.targets) for row in made] == [("a", "b"), ("a", "b")]
    assert made.dropped == {"empty_input": 1, "empty_target": 1, "several_targets": 1}


def test_a_row_of_another_form_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"demo\.en\.jsonl:2: targets: must be text, found 3"):
        list(Rows(source(tmp_path, [{"inputs": "a", "targets": "b"}, {"inputs": "a", "targets": 3}])))


def test_a_template_that_fits_no_row_is_an_error_not_an_empty_task(tmp_path):
    template = Template("sum", "{{ text + 1 }} ||| b", "t.yaml:1")
    with pytest.raises(DataError, match="template 'sum' fits no row"):
        list(Rows(source(tmp_path, [{"text": "a"}, {"text": "b"}]), template))


def test_an_endless_template_ends_the_reading_with_one_line(tmp_path):
    loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    template = Template("slow", "{{ text }} ||| " + loops, "t.yaml:7")
    with pytest.raises(ConfigError, match=r"t\.yaml:7: template 'slow': it takes over 1,000,000 steps"):
        list(Rows(source(tmp_path, [{"text": "a"}]), template))


def test_the_same_seed_gives_the_same_rows(tmp_path):
    template = Template("draw", "{{ text }} ||| {{ range(1000) | choice }}", "t.yaml:1")
    data = source(tmp_path, [{"text": f"t{n}"} for n in range(30)])
    first = Rows(data, template, seed=1)
    assert list(first) == list(first) == list(Rows(data, template, seed=1))
    assert list(first) != list(Rows(data, template, seed=2))
    assert len({row.targets for row in first}) > 20


def test_a_language_a_row_is_read_from_it(tmp_path):
    data = [{"text": "a", "label": 0, "lang": "jp"}, {"text": "a", "label": 1, "lang": "fr"}]
    made = Rows(source(tmp_path, data, "xwinograd.jsonl"), TEMPLATE)
    assert [row.language for row in made] == ["ja", "fr"]
    made = Rows(source(tmp_path, [{**data[0], "lang": "xx"}], "xwinograd.jsonl"), TEMPLATE)
    with pytest.raises(DataError, match=r"xwinograd\.jsonl:1: unknown language 'xx'"):
        list(made)


def test_ten_thousand_rows_are_rendered_in_seconds(tmp_path):
    data = source(tmp_path, [{"text": f"some text {n}", "label": n % 2} for n in range(10_000)])
    start = time.process_time()
    assert sum(1 for _ in Rows(data, TEMPLATE)) == 10_000
    assert time.process_time() - start < 5


def test_t0s_samples_are_read_under_their_own_column_names(shared):
    for path in sorted((shared / "data/multitask/t0_samples").iterdir()):
        made = Rows(raw(path, language_code="en", columns={"inputs": "prompt", "targets": "completion"}))
        made.check()
        assert sum(1 for _ in made) == made.kept > 0
