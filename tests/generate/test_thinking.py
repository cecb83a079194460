"""Thinking is told from the answer, and a reply that has only thinking is none."""

import pytest

from align.generate.request import Reply
from align.generate.thinking import split_thinking


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("<think>\nFirst, x.\n</think>\n\nThe answer.", "First, x.", "The answer."),
        ("\n <think>x</think>The answer.\n", "x", "The answer.\n"),
        ("First, x.\n</think>\n\nThe answer.", "First, x.", "The answer."),
        ("First, x.</think>\nThe answer.", "First, x.", "The answer."),
        ("<think>\n\n</think>\n\nThe answer.", None, "The answer."),
        ("<think>a</think>\n<think>b</think>\nThe answer.", "a\n\nb", "The answer."),
        ("<think>x</think>\n\ndef f():\n    return '</think>'\n", "x", "def f():\n    return '</think>'\n"),
        ("<think>x</think>\n\n    return 1\n", "x", "    return 1\n"),
        ("<think>x</think> The answer.", "x", "The answer."),
    ],
)
def test_thinking_stands_apart(text: str, thought: str | None, answer: str) -> None:
    assert split_thinking(Reply(text=text)) == Reply(text=answer, reasoning=thought)


@pytest.mark.parametrize(
    "text",
    [
        "The answer.",
        "",
        "def f():\n    return '</think>'.join(xs)\n",
        "Write `<think>` first.",
        "I would write\n<think>x</think>\n",
        "Sorted. <think>no</think>\nMore.",
    ],
)
def test_an_answer_without_thinking_stays_as_it_is(text: str) -> None:
    assert split_thinking(Reply(text=text)) == Reply(text=text)


@pytest.mark.parametrize("finish", ["length", "stop"])
def test_a_reply_that_ends_inside_its_thinking_is_no_answer(finish: str) -> None:
    found = split_thinking(Reply(text="<think>\nFirst, ```python\nx = 1\n```", finish=finish))
    assert found == Reply(text="", finish="length", reasoning="First, ```python\nx = 1\n```")


def test_thinking_without_an_answer_after_it_keeps_its_end() -> None:
    assert split_thinking(Reply(text="<think>x</think>\n", finish="length")) == Reply(
        text="", finish="length", reasoning="x"
    )


def test_what_the_server_has_told_apart_and_what_is_no_reply_stay() -> None:
    for reply in (
        Reply(text="<think>is a tag", reasoning="x"),
        Reply(text="", finish="error", error="refused"),
        Reply(text="<think>", finish="error", error="refused"),
    ):
        assert split_thinking(reply) == reply


def test_huge_and_hostile_texts_are_split_quickly() -> None:
    text = "<think>" + "</think" * 200_000 + "\ud800\x00</think>" + "<think>" * 5
    assert split_thinking(Reply(text=text)).text == ""
    assert split_thinking(Reply(text="<think></think>" * 100_000)).text.startswith("<think>")
    assert split_thinking(Reply(text=" " * 300_000 + "<\n" * 100_000)).reasoning is None
