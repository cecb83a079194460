"""What the commands print: plain in a pipe, drawn on a terminal, JSON on demand."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from align.cli import main
from align.io import write
from align.recipe.recipe import kinds
from align.recipe.summary import summary

from .conftest import ENVIRONMENT, align, told

QUICKSTART = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"
BOXES = re.compile("[\u2500-\u257f\x1b…]")
HOSTILE = "\x1b]0;owned\x07[bold red]def f():\r\n\treturn 1"


@pytest.fixture
def records(tmp_path):
    path = tmp_path / "records.jsonl"
    tests = ["assert f() == 1", "assert f(2) == 2"]
    rows = [{"id": i, "code": HOSTILE, "tests": tests, "meta": {"a": {"b": "x\ny"}}, "none": []} for i in range(1200)]
    write(path, rows)
    return path


@pytest.mark.parametrize(
    "words", [["plan", str(QUICKSTART)], ["show", "runs/toy"], *(["show", one] for one in kinds())]
)
def test_without_a_terminal_nothing_is_boxed_or_cut_and_there_is_no_escape(run, words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert main(words) == 0
    text, error = capsys.readouterr()
    assert not BOXES.search(text), text
    assert not error


def test_records_in_a_real_pipe_are_not_boxed_either(records):
    done = align("show", str(records), COLUMNS="40")
    assert done.returncode == 0, done.stderr
    assert not BOXES.search(done.stdout), done.stdout
    assert not done.stderr


def test_a_run_shows_one_table_a_score_stage(run, capsys):
    found = summary(run)
    assert {stage: score["problems"] for stage, score in found["scores"].items()} == {
        "score": "heldout",
        "score-hard": "$clean/problems.jsonl",
    }
    assert found["scores"]["score"]["models"]["sft"]["pass@1"] == 75
    assert found["scores"]["score-hard"]["models"]["sft"]["pass@1"] == 25
    assert found["models"] == found["scores"]["score-hard"]["models"]
    first, second = told(capsys, "runs/toy").split("\n\n")[1:]
    assert first.splitlines()[0] == "score: heldout"
    assert second.splitlines()[0] == "score-hard: $clean/problems.jsonl"
    assert len(first.splitlines()) == 2 + 11
    assert re.search(r"^rrtf@250 +75.0 ", first, re.MULTILINE)
    assert re.search(r"^rrtf@250 +25.0 ", second, re.MULTILINE)
    assert json.loads(told(capsys, "runs/toy", "--json")) == found


def test_a_stage_whose_files_were_changed_says_so(run, capsys):
    assert "changed" not in told(capsys, "runs/toy")
    (run / "clean" / "problems.jsonl").write_text("{}\n")
    assert "contaminated 1551, duplicate 12); its files were changed" in told(capsys, "runs/toy")


def test_records_in_a_pipe_are_fields_and_blocks(records, capsys):
    first, *_, closing = told(capsys, str(records)).split("\n\n")
    assert first.splitlines() == [
        "id: 0",
        "code:",
        "  \\u001b]0;owned\\u0007[bold red]def f():\\u000d",
        "  \treturn 1",
        "tests:",
        "  assert f() == 1",
        "  assert f(2) == 2",
        "meta:",
        "  a:",
        "    b:",
        "      x",
        "      y",
        "none: []",
    ]
    assert closing == "3 of 1,200 records: --limit N for more\n"
    assert told(capsys, str(records), "--limit", "1200").endswith("\n1,200 of 1,200 records\n")


def test_records_on_a_terminal_are_highlighted_wrapped_and_harmless(records):
    drawn = align("show", str(records), "--limit", "2", FORCE_COLOR="1", COLUMNS="40", TERM="xterm").stdout
    plain = re.sub(r"\x1b\[[\d;]*m", "", drawn)
    # colours are all that is left of control sequences
    assert "\x1b" not in plain
    assert "\x07" not in plain
    assert "[bold red]" in plain
    assert "\x1b[1mcode\x1b[0m" in drawn
    assert re.search(r"\x1b\[[\d;]+massert", drawn)
    assert plain.count("─" * 40) == 2
    assert max(map(len, plain.splitlines())) <= 40


def test_json_gives_every_record_or_as_many_as_asked(records, capsys):
    lines = told(capsys, str(records), "--json").splitlines()
    assert json.loads(lines[7])["code"] == HOSTILE
    assert len(lines) == 1200
    assert len(told(capsys, str(records), "--json", "--limit", "5").splitlines()) == 5


@pytest.mark.parametrize(
    ("words", "buffered"), [(["--limit", "1200"], {"PYTHONUNBUFFERED": "1"}), (["--json"], {}), ([], {})]
)
def test_a_reader_that_leaves_early_ends_it_quietly(records, words, buffered):
    command = [sys.executable, "-m", "align", "show", str(records), *words]
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONUNBUFFERED"} | buffered
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == b""


def test_a_broken_pipe_that_is_not_our_output_is_not_hidden(monkeypatch, records):
    def broken(*_, **__):
        raise BrokenPipeError("a worker's")

    monkeypatch.setattr("align.show.show", broken)
    with pytest.raises(BrokenPipeError, match="a worker's"):
        main(["show", str(records)])


def test_a_locale_without_a_character_shows_its_escape():
    shown = align("show", "clean", PYTHONIOENCODING="ascii")
    assert shown.returncode == 0, shown.stderr
    assert "Our field \\u2192 the file's column" in shown.stdout


def test_what_cannot_be_limited_or_shown_says_what_can(run, tmp_path, capsys):
    (tmp_path / "r.yaml").write_text("stages: {}\n")
    for words, said in {
        "clean --limit 2": "--limit belongs to one",
        "runs": "name a run: runs/toy",
        "runs/toy/clean/problem.jsonl": "no such file: did you mean 'runs/toy/clean/problems.jsonl'?",
        "missing.jsonl --limit 3": "missing.jsonl: no such file\n",
        "r.yaml": "a recipe: align plan r.yaml",
    }.items():
        assert main(["show", *words.split()]) == 2
        assert said in capsys.readouterr().err
