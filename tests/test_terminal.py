"""The same rows in a pipe and on terminals of any width: whole, aligned, and never obeyed."""

import io

import pytest
from rich.console import Console

from align import terminal
from align.terminal import Table, visible

LONG = "a value that is longer than any column of a narrow terminal and must be there to its last word"


def table() -> Table:
    made = Table(("name", "n", "what it is"), "title", ("n",))
    made.add("漢字", "5", LONG)
    made.add("b[red]", "1,000", "")
    return made


def drawn(monkeypatch, made: Table, width: int) -> str:
    out = Console(file=io.StringIO(), force_terminal=True, width=width, markup=False, no_color=True)
    monkeypatch.setattr(terminal, "console", lambda: out)
    made.show()
    return out.file.getvalue()


def test_a_pipe_gets_aligned_columns_and_whole_values(capsys):
    table().show()
    assert capsys.readouterr().out.splitlines() == [
        "title",
        "name        n  what it is",
        f"漢字        5  {LONG}",
        "b[red]  1,000  -",
    ]


@pytest.mark.parametrize("width", [30, 80, 120, 200])
def test_no_width_of_a_terminal_cuts_a_value(monkeypatch, width):
    shown = drawn(monkeypatch, table(), width)
    for word in (*LONG.split(), "b[red]", "1,000", "漢字", "title"):
        assert word in shown
    assert "…" not in shown


@pytest.mark.parametrize("width", [40, 200])
def test_numbers_are_whole_on_a_narrow_terminal(monkeypatch, width):
    made = Table(
        ("model", "pass@1", "95 %", "minus sft", "problems"), numbers=("pass@1", "95 %", "minus sft", "problems")
    )
    made.add("rrtf@25", "52.5", "[45.5, 59.5]", "+6.0", "1000")
    shown = drawn(monkeypatch, made, width)
    for word in ("rrtf@25", "52.5", "[45.5,", "59.5]", "+6.0", "1000"):
        assert word in shown


def test_characters_that_a_terminal_obeys_are_shown_as_escapes():
    text = "a\x1b[31mred\x07\r\x9b2J\u202egnp.exe\ud800\n\tend"
    assert visible(text) == "a\\u001b[31mred\\u0007\\u000d\\u009b2J\\u202egnp.exe\\ud800\n\tend"
    made = Table(("x",))
    made.add("one\ntwo\x1b]0;title\x07")
    assert made.lines(made.columns) == ["x", "one two\\u001b]0;title\\u0007"]
