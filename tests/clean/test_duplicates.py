"""Exact duplicates."""

from align.clean import drop_duplicates
from align.schema import Message, Problem


def test_the_first_of_equal_texts_is_kept_in_order() -> None:
    problems = [Problem(prompt=text) for text in ("Sum a list.", "Sort it.", "sum  A LIST", "Sum two lists.")]
    kept, rejected = drop_duplicates(problems)
    assert kept == [problems[0], problems[1], problems[3]]
    assert [(entry.reason, entry.detail) for entry in rejected] == [("duplicate", f"of {problems[0].id}")]
    assert rejected[0].record["prompt"] == "sum  A LIST"


def test_a_chat_repeats_the_same_text() -> None:
    problems = [Problem(prompt="Sum."), Problem(prompt=[Message(role="user", content="sum")])]
    assert len(drop_duplicates(problems)[0]) == 1
