import io

import pytest
from rich.console import Console

from align.recipe import closing

COUNTS = {"kept": 11449, "rejected": {"contaminated": 1551, "too_long": 0}, "m": 50.5}


@pytest.fixture
def terminal(monkeypatch):
    out = Console(file=io.StringIO(), force_terminal=True, width=80, no_color=True)
    monkeypatch.setattr(closing, "console", lambda: out)
    return lambda: [line.rstrip() for line in out.file.getvalue().replace("\x1b[0m", "").splitlines()]


def test_a_pipe_gets_one_line_a_stage(capsys):
    closing.say_done("clean", COUNTS, 12.34)
    closing.say_not_run("tests", "cached")
    assert capsys.readouterr().out.splitlines() == [
        "clean        kept 11449, rejected 1551 (contaminated 1551, too_long 0), m 50.5  12.3 s",
        "tests        cached",
    ]


def test_a_long_name_does_not_touch_its_counts(toys, capsys):
    toys(text="stages:\n  a-stage-with-a-long-name: {use: toy_make}\n  b: {use: toy_make, rounds: 4}\n").run()
    assert [line.partition("kept")[0] for line in capsys.readouterr().out.splitlines()] == [
        "a-stage-with-a-long-name ",
        "b                        ",
    ]


def test_a_terminal_gets_a_line_a_reason_with_count_and_share(terminal):
    closing.say_done("clean", COUNTS, 12.34)
    heading, *reasons = terminal()
    assert heading.split("  ")[0].endswith("clean")
    assert heading.endswith("12.3 s  kept 11,449, rejected 1,551 of 13,000")
    assert [line.removeprefix("\x1b[2m") for line in reasons] == [
        "    rejected  contaminated       1,551   11.9 %",
        "              too_long               0    0.0 %",
    ]


def test_many_counts_wrap_below_themselves_and_an_empty_stage_has_no_share(terminal):
    closing.say_done("rank", {**{f"count_{number}": number for number in range(9)}, "dropped": {"a": 0}}, 1)
    heading, *below, reason = terminal()
    assert "count_0 0" in heading
    assert below
    assert all(line.startswith(" " * 25) for line in below)
    assert reason.endswith("a           0        -")
