"""How replies are read: what is not exactly what was asked for is a failure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from align.generate.request import Reply
from align.rank.judgement import read_choice, read_score


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Verdict: A", "A"),
        ("Because of the bound.\n\nVerdict: B\n\n", "B"),
        ("**Verdict: tie**", "tie"),
        ("**Verdict:** A", "A"),
        ("verdict: b\r\n", "B"),
        ('{"verdict": "A"}', "A"),
        ("<think>Verdict: B</think>\nVerdict: A", "A"),
        ("so Verdict: B\n</think>\n\nVerdict: A", "A"),
    ],
)
def test_choices_that_are_read(text, value):
    assert read_choice(Reply(text=text)).value == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A",
        "Verdict: A or B",
        "Verdict: A\nBut then again, B may be better.",
        "Verdict: C",
        "Verdict: AB",
        "Verdict: A Verdict: B",
        "Verdict: A\rVerdict: B",
        "My Verdict: A",
        "Verdict:",
        '{"verdict": "A", "verdict": "B"}',
        '{"verdict": "A", "sure": true}',
        '{"verdict": ["A"]}',
        '["verdict", "A"]',
        "Verdict: A</think>",
        "so Verdict: B</think>Verdict: A",
        "x" * 1000 + "Verdict: A",
        "[" * 100_000,
        "Verdict: Α",  # a Greek letter
        "\x00\ud800",
    ],
)
def test_choices_that_are_failures(text):
    read = read_choice(Reply(text=text))
    assert (read.value, read.failure) == (None, "unreadable")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Score: 1", 1),
        ("Score: 10", 10),
        ("Score: 7/10", 7),
        ("**Score: 7**", 7),
        ('{"score": 3}', 3),
    ],
)
def test_scores_that_are_read(text, value):
    assert read_score(Reply(text=text)).value == value


@pytest.mark.parametrize(
    "text",
    [
        "Score: 0",
        "Score: 11",
        "Score: 100",
        "Score: 010",
        "Score: 7.5",
        "Score: -3",
        "Score: 4/5",
        "Score: 7 out of 10",
        "Score: ٧",  # a digit of another script
        "Score: 7\nScore: 8 or so",
        '{"score": 7.0}',
        '{"score": true}',
        '{"score": "7"}',
        '{"score": 1e9}',
        "7",
    ],
)
def test_scores_that_are_failures(text):
    assert read_score(Reply(text=text)).failure == "unreadable"


def test_a_reply_that_was_cut_is_a_failure_for_1_may_have_become_10():
    assert read_score(Reply(text="Score: 1", finish="length")).failure == "cut"
    assert read_choice(Reply(text="Verdict: A", finish="length")).failure == "cut"
    assert read_choice(Reply(text="<think>\nVerdict: A")).failure == "cut"
    assert read_choice(Reply(text="", finish="error", error="refused")).failure == "no_answer"


@given(st.text())
def test_any_text_is_a_value_or_a_failure(text):
    for read in (read_choice(Reply(text=text)), read_score(Reply(text=text))):
        assert (read.value is None) == (read.failure is not None)
