"""Files that are one JSON value, beside those that hold records."""

import json

import pytest

from align.cli import main
from align.io import write_json

from .conftest import told

OBJECT = {"models": {"sft": {"pass@1": 37.5, "k": [1, 2]}}, "note": "a\nb"}


def test_an_object_is_shown_field_by_field(tmp_path, capsys):
    write_json(tmp_path / "score.json", OBJECT)
    assert told(capsys, tmp_path / "score.json").splitlines() == [
        "models:",
        "  sft:",
        "    pass@1: 37.5",
        "    k: [1, 2]",
        "note:",
        "  a",
        "  b",
    ]
    assert json.loads(told(capsys, tmp_path / "score.json", "--json")) == OBJECT


@pytest.mark.parametrize("value", [[1, 2], "text", 3])
def test_another_value_is_shown_as_it_is(tmp_path, capsys, value):
    write_json(tmp_path / "value.json", value)
    assert json.loads(told(capsys, tmp_path / "value.json")) == value


@pytest.mark.parametrize("text", ['[\n {"a": 1},\n {"a": 2}]', '{"a": 1}\n{"a": 2}\n'])
def test_records_stay_records(tmp_path, capsys, text):
    (tmp_path / "rows.json").write_text(text)
    assert told(capsys, tmp_path / "rows.json") == "a: 1\n\na: 2\n\n2 of 2 records\n"
    assert told(capsys, tmp_path / "rows.json", "--json", "--limit", "1") == '{"a": 1}\n'


def test_a_single_record_in_one_line_stays_a_record(tmp_path, capsys):
    (tmp_path / "rows.json").write_text('{"a": 1}\n')
    assert told(capsys, tmp_path / "rows.json", "--limit", "5").endswith("1 of 1 records\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{\n "a": 1,\n "b": x\n}', "value.json:3: not JSON: Expecting value at column 7"),
        ('{"a": 1}\n{"a": x}\n', "value.json:2: not JSON"),
        ("null", "expected a JSON object, found NoneType"),
        ('{\n "a": ' + "[" * 100_000, "value.json:1: "),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, capsys, text, expected):
    (tmp_path / "value.json").write_text(text)
    assert main(["show", str(tmp_path / "value.json")]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1


def test_one_value_has_no_records_to_limit(tmp_path, capsys):
    write_json(tmp_path / "value.json", OBJECT)
    assert main(["show", str(tmp_path / "value.json"), "--limit", "2"]) == 2
    assert "one JSON value" in capsys.readouterr().err
