"""Each rule of elimination, and what passes all of them."""

from collections.abc import Collection

import pytest

from align.evolve import OPERATORS
from align.evolve.eliminate import find_fault
from align.generate.request import Reply
from align.schema import Finish

PARENT = "Write a function that returns the sum of a list of numbers."
METHOD = OPERATORS["add_constraint"]


def reason(
    text: str, *, finish: Finish = "stop", known: Collection[str] = (), max_words: int | None = None
) -> str | None:
    fault = find_fault(Reply(text=text, finish=finish), parent=PARENT, method=METHOD, known=known, max_words=max_words)
    return fault and fault.reason


def test_a_harder_problem_passes() -> None:
    assert reason("Write a function that returns the sum of the even numbers of a list; ignore values below 0.") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I'm sorry, but I can't rewrite this.", "refusal"),
        ("As an AI language model, I have no view.", "refusal"),
        ("", "empty"),
        ("...!?", "empty"),
        ("the of and to it", "empty"),
        ("**New Problem:** Write a function that sums primes.", "copies_prompt"),
        (f"{METHOD} Write a function.", "copies_prompt"),
        ("Write a function that returns\nthe SUM of a list of numbers", "unchanged"),
    ],
)
def test_a_failed_evolution_has_its_reason(text: str, expected: str) -> None:
    assert reason(text) == expected


def test_a_long_problem_may_mention_being_sorry() -> None:
    assert reason("Print sorry for bad input. " + "Then read the next line of the file and count it. " * 10) is None


def test_a_cut_off_text_is_no_problem() -> None:
    assert reason("Write a function that returns the sum of the", finish="length") == "cut_off"


def test_a_text_over_the_limit_is_too_long() -> None:
    assert reason("one two three four five", max_words=4) == "too_long"
    assert reason("one two three four five", max_words=5) is None


def test_a_known_text_is_a_duplicate() -> None:
    assert reason("Sum the primes!", known={"sum the primes"}) == "duplicate"


def test_wording_that_the_parent_had_before_is_not_copied() -> None:
    text = "Print 'new problem:' before each of the lines."
    fault = find_fault(Reply(text=f"{text} Skip empty lines."), parent=text, method=METHOD, known=())
    assert fault is None
