"""One stage of a run: done, changed, or not done."""

import fcntl
import json
import os
import re

from align.cli import main
from align.recipe.workspace import STOPPED

from .conftest import align, told


def begin(run, name: str):
    (run / ".lock").touch()
    folder = run / f"{name}-abcdef012345"
    folder.mkdir()
    return folder


def test_a_stage_shows_its_state_counts_files_and_config(run, capsys):
    text = told(capsys, "runs/toy/clean")
    assert text.startswith("stage: clean\nstate: done\nkind: clean\nseconds: 1.5\nseed: 7\nkey: 0123456789ab\n")
    assert "counts: kept 11449, rejected 1563 (contaminated 1551, duplicate 12)\n" in text
    assert re.search(r"^problems.jsonl +0 B +problem$", text, re.MULTILINE)
    assert "align: 0.1.0" in text
    assert json.loads(told(capsys, "runs/toy/clean", "--json")) == json.loads(
        (run / "clean" / "stage.json").read_text()
    )


def test_its_folder_may_be_named_or_stood_in(run, capsys, monkeypatch):
    text = told(capsys, "runs/toy/clean")
    assert told(capsys, "runs/toy/clean-0123456789ab/") == text
    monkeypatch.chdir(run / "clean")
    assert told(capsys, ".") == text
    monkeypatch.chdir(run)
    assert told(capsys, ".").startswith("toy (seed 7)")


def test_on_a_terminal_every_reason_has_its_share(run):
    text = align("show", "runs/toy/clean", FORCE_COLOR="1", COLUMNS="80", TERM="xterm").stdout
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert re.search(r"contaminated +1,551 +11.9 %", plain)
    assert max(map(len, plain.splitlines())) <= 80


def test_a_score_stage_has_its_table_too(run, capsys):
    text = told(capsys, "runs/toy/score-hard")
    assert "score-hard: $clean/problems.jsonl\nmodel " in text
    assert re.search(r"^rrtf@250 +25.0 ", text, re.MULTILINE)


def test_files_that_were_changed_are_named(run, capsys):
    (run / "clean" / "problems.jsonl").write_text("{}\n")
    assert "state: done; changed since: problems.jsonl" in told(capsys, "runs/toy/clean")


def test_a_folder_of_files_is_one_row(run, capsys):
    folder = begin(run, "rrtf")
    (folder / "model").mkdir()
    for name in ("a", "b"):
        (folder / "model" / name).write_bytes(bytes(600))
    (folder / ".state").mkdir()
    (folder / ".state" / "hidden").touch()
    text = told(capsys, str(folder))
    assert re.search(r"^model/ \(2 files\) +1.2 kB", text, re.MULTILINE)
    assert "hidden" not in text


def test_a_stage_that_is_not_done_says_where_it_stands(run, capsys):
    folder = begin(run, "rrtf")
    assert told(capsys, str(folder)) == "stage: rrtf\nstate: stopped\nkey: abcdef012345\n"
    with open(run / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "state: running" in told(capsys, str(folder))
    (folder / STOPPED).write_text("the loss is nan")
    assert "state: failed: the loss is nan" in told(capsys, str(folder))
    assert main(["show", str(folder), "--json"]) == 2
    assert "not done: it has no stage.json yet" in capsys.readouterr().err


def test_a_leftover_does_not_run_while_another_stage_does(run, capsys):
    leftover, active = begin(run, "rrtf"), begin(run, "sft")
    os.utime(leftover, (1, 1))
    with open(run / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "state: stopped" in told(capsys, str(leftover))
        assert "state: running" in told(capsys, str(active))
