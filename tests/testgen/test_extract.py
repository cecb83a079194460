"""Reading examples out of a problem's text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from align.execute import Pool, program_for
from align.io import read
from align.schema import Message, Problem
from align.testgen.calibrate import hidden
from align.testgen.extract import extract_asserts
from align.testgen.interface import pin

FALSE_TEXTS = {"HumanEval/47", "HumanEval/116"}
"""Problems whose docstrings give values that their own solutions and tests do not."""


def examples(text: str, signature: str | None = "def f(a, b=0):") -> list[str]:
    return [test.source for test in extract_asserts(Problem(prompt=text, entry_point="f", signature=signature))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (">>> f(1)\n2", "assert f(1) == 2"),
        ("    >>> f('a')\n    'b'\n    ", "assert f('a') == 'b'"),
        (">>> f([1,\n... 2])", None),
        (">>> f(1) == 2", "assert f(1) == 2"),
        ("f(1) ➞ [2, 3]  # because", "assert f(1) == [2, 3]"),
        ("* f(1, 2) -> 3", "assert f(1, 2) == 3"),
        ("f(1) => true", "assert f(1) == True"),
        ("For example f(-1) should return -2 and f(2) should return 4.", "assert f(-1) == -2"),
        ("`f(1)` returns `None`", "assert f(1) is None"),
        ("assert f([\n 1,\n 2]) == 3", "assert f([1, 2]) == 3"),
        ("Input: a = [1, 2], b = 3\nOutput: [4]", "assert f(a=[1, 2], b=3) == [4]"),
        ("Input: 1, 2\n  Output: 3\n  Explanation: so", "assert f(1, 2) == 3"),
        ("For a = 1, b = 2 the output should be 3.", "assert f(a=1, b=2) == 3"),
    ],
)
def test_an_example_is_taken_however_it_is_written(text: str, expected: str | None) -> None:
    assert examples(text)[:1] == ([expected] if expected else [])


@pytest.mark.parametrize(
    "text",
    [
        "f(n) == f(n - 1) + 1",
        ">>> round(f(1), 2)\n0.5",
        ">>> f(1) + 1\n3",
        "1 + f(1) == 3",
        "f(1) == 2 * 3",
        "f(1) -> 19 - 5 = 14",
        "f([1, 2, ...]) == 3",
        "f(1) == g(2)",
        "my.f(1) == 2",
        "f(1)",
        ">>> f(1)\nTraceback (most recent call last):",
        "f(abc) => True",
        'f(1) ==> ("Venus")',
        "Input: a = 1\nOutput: 2",
        "f(" * 200,
    ],
)
def test_what_is_not_plainly_an_example_is_left_out(text: str) -> None:
    assert examples(text) == []


def test_examples_that_contradict_each_other_are_left_out() -> None:
    assert examples("f(1) == 2\nf(1) == 3\nf(2) == 4") == ["assert f(2) == 4"]


def test_a_recurrence_told_beside_examples_is_not_taken_for_one() -> None:
    assert examples("f(1) = 3\nf(3) = [1, 3, 2, 8]") == []


def test_the_user_s_turns_of_a_chat_are_read() -> None:
    turns = [Message(role="system", content="f(1) == 9"), Message(role="user", content="f(1) == 2")]
    (test,) = extract_asserts(Problem(prompt=turns, entry_point="f"))
    assert test.expected == "2"


@given(st.text(alphabet="f(1)=> [],'\"\n.-#aInputOutput:\ud800\0", max_size=80))
def test_no_text_breaks_the_reader(text: str) -> None:
    for source in examples(text):
        compile(source, "", "exec")


def test_every_example_of_humaneval_holds_but_those_its_texts_have_wrong(shared) -> None:
    problems = read(shared / "data/eval/HumanEval.jsonl.gz", Problem)
    found = [(problem, extract_asserts(pin(hidden(problem)))) for problem in problems]
    judged = []
    for problem, cases in found:
        bare = problem.model_dump(include={"prompt", "entry_point"})
        judged += [(problem, Problem(**bare, tests=[case.source for case in cases]))] if cases else []
    with Pool(2) as pool:
        runs = list(pool.run(program_for(tested, solution=problem.reference) for problem, tested in judged))
    failing = {
        problem.meta["task_id"] for (problem, _), run in zip(judged, runs, strict=True) if run.outcome != "passed"
    }
    assert failing == FALSE_TEXTS
    assert len(judged) >= 140
    assert sum(len(cases) for _, cases in found) >= 400
