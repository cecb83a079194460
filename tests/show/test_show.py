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

from .conftest import ENVIRONMENT, align

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


def test_a_piped_command_prints_no_box_no_escape_and_cuts_nothing(run, records):
    shown = [["show", word] for word in ("runs/toy", str(records), *kinds())]
    for words in (["plan", str(QUICKSTART)], *shown):
        told = align(*words, COLUMNS="40")
        assert told.returncode == 0, told.stderr
        assert not BOXES.search(told.stdout), told.stdout
        assert not told.stderr


def test_a_run_shows_one_table_a_score_stage(run):
    found = summary(run)
    assert {stage: score["problems"] for stage, score in found["scores"].items()} == {
        "score": "heldout",
        "score-hard": "$clean/problems.jsonl",
    }
    assert found["scores"]["score"]["models"]["sft"]["pass@1"] == 75
    assert found["scores"]["score-hard"]["models"]["sft"]["pass@1"] == 25
    assert found["models"] == found["scores"]["score-hard"]["models"]
    first, second = align("show", "runs/toy").stdout.split("\n\n")[1:]
    assert first.splitlines()[0] == "score: heldout"
    assert second.splitlines()[0] == "score-hard: $clean/problems.jsonl"
    assert len(first.splitlines()) == 2 + 11
    assert re.search(r"^rrtf@250 +75.0 ", first, re.MULTILINE)
    assert re.search(r"^rrtf@250 +25.0 ", second, re.MULTILINE)
    assert json.loads(align("show", "runs/toy", "--json").stdout) == found


def test_a_stage_whose_files_were_changed_says_so(run):
    assert "changed" not in align("show", "runs/toy").stdout
    (run / "clean" / "problems.jsonl").write_text("{}\n")
    assert "contaminated 1551, duplicate 12); its files were changed" in align("show", "runs/toy").stdout


def test_records_in_a_pipe_are_fields_and_blocks(records):
    told = align("show", str(records)).stdout
    first, *_, closing = told.split("\n\n")
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
    assert align("show", str(records), "--limit", "1200").stdout.endswith("\n1,200 of 1,200 records\n")


def test_records_on_a_terminal_are_highlighted_wrapped_and_harmless(records):
    told = align("show", str(records), "--limit", "2", FORCE_COLOR="1", COLUMNS="40", TERM="xterm").stdout
    plain = re.sub(r"\x1b\[[\d;]*m", "", told)
    # colours are all that is left of control sequences
    assert "\x1b" not in plain
    assert "\x07" not in plain
    assert "[bold red]" in plain
    assert "\x1b[1mcode\x1b[0m" in told
    assert re.search(r"\x1b\[[\d;]+massert", told)
    assert plain.count("─" * 40) == 2
    assert max(map(len, plain.splitlines())) <= 40


def test_json_gives_every_record_or_as_many_as_asked(records):
    told = align("show", str(records), "--json").stdout
    assert json.loads(told.splitlines()[7])["code"] == HOSTILE
    assert len(told.splitlines()) == 1200
    assert len(align("show", str(records), "--json", "--limit", "5").stdout.splitlines()) == 5


@pytest.mark.parametrize("words", [["--limit", "1200"], ["--json"], []])
def test_a_reader_that_leaves_early_ends_it_quietly(records, words):
    command = [sys.executable, "-m", "align", "show", str(records), *words]
    for buffered in ({}, {"PYTHONUNBUFFERED": "1"}):
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
    told = align("show", "clean", PYTHONIOENCODING="ascii")
    assert told.returncode == 0, told.stderr
    assert "Our field \\u2192 the file's column" in told.stdout


def test_what_cannot_be_limited_or_shown_says_what_can(run, tmp_path, capsys):
    (tmp_path / "r.yaml").write_text("stages: {}\n")
    for words, told in {
        "clean --limit 2": "--limit belongs to one",
        "runs": "name a run: runs/toy",
        "runs/toy/clean/problem.jsonl": "no such file: did you mean 'runs/toy/clean/problems.jsonl'?",
        "missing.jsonl --limit 3": "missing.jsonl: no such file\n",
        "r.yaml": "a recipe: align plan r.yaml",
    }.items():
        assert main(["show", *words.split()]) == 2
        assert told in capsys.readouterr().err
