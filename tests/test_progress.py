"""Rates and times left that are true for fast, slow and resumed work; plain lines in a pipe, a bar on a terminal."""

import os
import pty
import re
import subprocess
import sys

import pytest

from align import progress as module
from align.progress import Bar, progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves by hand."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_nothing_is_told_before_the_first_item(clock):
    bar = Bar("work", 10)
    clock.now += 100
    assert str(bar) == "work: 0/10"
    bar.advance(0)
    assert str(bar) == "work: 0/10"


def test_a_slow_rate_is_told_in_seconds_an_item(clock):
    bar = Bar("work", 10)
    for _ in range(2):
        clock.now += 50
        bar.advance()
    assert str(bar) == "work: 2/10, 50.0 s/item, 0:06:40 left"
    clock.now += 30
    assert str(bar) == "work: 2/10, 50.0 s/item, 0:06:10 left"


def test_what_was_done_before_does_not_count_as_speed(clock):
    bar = Bar("work", 1000)
    clock.now += 20
    bar.skip(500)
    assert str(bar) == "work: 500/1000"
    clock.now += 10
    bar.advance(20)
    assert str(bar) == "work: 520/1000, 2.0/s, 0:04:00 left"


def test_the_rate_is_that_of_the_last_minute(clock):
    bar = Bar("work", None)
    bar.advance(100_000)
    for _ in range(30_000):
        clock.now += 0.01
        bar.advance()
    assert bar.rate == pytest.approx(100, rel=0.05)
    assert len(bar._points) < 200


def test_a_pipe_gets_one_line_in_thirty_seconds(clock, capsys):
    with progress("work", 100) as bar:
        for _ in range(100):
            clock.now += 1
            bar.advance()
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(",")[0] for line in err.splitlines()] == ["work: 30/100", "work: 60/100", "work: 90/100"]


def test_ranks_above_the_first_say_nothing(clock, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "3")
    with progress("work", 100) as bar:
        clock.now += 100
        bar.advance(100)
    assert capsys.readouterr() == ("", "")


SCRIPT = """
import time
from align.progress import progress
with progress("work", 3) as bar:
    bar.skip(1)
    for _ in range(2):
        time.sleep(0.15)
        print("said meanwhile")
        bar.advance()
"""


def on_a_terminal(**environment):
    """(stdout, what the terminal on stderr got) of the script."""
    leader, follower = pty.openpty()
    plain = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "NO_COLOR")}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        stderr=follower,
        env={**plain, "TERM": "xterm", "COLUMNS": "100", **environment},
        text=True,
        check=True,
    )
    os.close(follower)
    got = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # Linux's end of a terminal that nobody holds
            break
        got += part
    os.close(leader)
    return ran.stdout, got.decode()


def test_a_terminal_gets_a_bar_and_a_pipe_beside_it_keeps_its_lines():
    out, drawn = on_a_terminal()
    assert out == "said meanwhile\n" * 2
    assert "━" in drawn
    assert "3/3" in drawn
    assert "/s" in drawn


def test_no_color_and_a_dumb_terminal_are_honoured():
    assert not re.search(r"\x1b\[[\d;]*3\d", on_a_terminal(NO_COLOR="1")[1])
    assert re.search(r"\x1b\[[\d;]*3\d", on_a_terminal()[1])
    assert on_a_terminal(TERM="dumb")[1] == ""
