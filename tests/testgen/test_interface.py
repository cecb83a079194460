"""Pinning the function that a problem asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from align.generate.request import Sampling
from align.schema import Problem
from align.testgen.asserts import read_asserts
from align.testgen.interface import def_line, pin, read_signature, request_interface, signature_of_tests


def interface(**fields: str | None) -> tuple[str | None, str | None]:
    found = pin(Problem(**{"prompt": "Double it.", **fields}))  # type: ignore[arg-type]
    return found.entry_point, found.signature


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "def f(a, b: int=1) -> int:\n    '''Add.'''\n"},
        {"prompt": "Complete this:\n```python\ndef f(a, b: int = 1) -> int:\n```"},
        {"reference": "def f(a, b: int = 1) -> int:\n    return a + b\n"},
        {"signature": "def f(a, b: int = 1) -> int:"},
        {"prompt": ">>> f(1)\n2", "reference": "def g(x): ...\ndef f(a, b: int = 1) -> int:\n    return g(a)\n"},
        {"entry_point": "f", "prompt": "def g(x):\n    return x\n\ndef f(a, b: int = 1) -> int:\n    '''Doc.'''\n"},
    ],
)
def test_code_that_comes_with_a_problem_tells_its_interface(fields: dict[str, str]) -> None:
    name, signature = interface(**fields)
    assert name == "f"
    assert signature is not None
    assert signature.replace(" ", "") == "deff(a,b:int=1)->int:"


def test_examples_tell_the_name_alone() -> None:
    assert interface(prompt="Double it.\n>>> f(1)\n2") == ("f", None)


def test_prose_tells_nothing() -> None:
    problem = Problem(prompt="Double it.")
    assert pin(problem) is problem


def test_a_problem_with_tests_keeps_its_id() -> None:
    problem = Problem(prompt="def f(x):\n    '''Double.'''\n", tests=["assert f(1) == 2"])
    assert pin(problem) is problem


@pytest.mark.parametrize(
    "answer",
    [
        "def f(x: int) -> int:",
        "```python\ndef f(x: int) -> int:\n```",
        "def f(x: int) -> int: ...",
        "`def f(x: int) -> int`",
    ],
)
def test_one_def_line_is_an_answer(answer: str) -> None:
    found = read_signature(answer)
    assert found is not None
    assert def_line(found) == "def f(x: int) -> int:"


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "f(x)",
        "I think: def f(x):",
        "def f(x): return x",
        "def f(x):\n    pass\ndef g(x):\n    pass",
        "class F: pass",
    ],
)
def test_anything_else_is_none(answer: str) -> None:
    assert read_signature(answer) is None


@given(st.text())
def test_no_answer_breaks_the_parser(text: str) -> None:
    read_signature(text)


@pytest.mark.parametrize("deep", [f"def f(a={'-' * 900}1): pass", f"def f() -> {'int | ' * 490}int: pass"])
def test_a_function_nested_too_deep_to_be_written_gives_its_name_alone(deep: str) -> None:
    found = pin(Problem(prompt=deep))
    assert (found.entry_point, found.signature) == ("f", None)


def test_cases_that_call_alike_tell_the_parameters() -> None:
    told = signature_of_tests(read_asserts("assert f(1, k=2) == 3\nassert f(2, k=3) == 5"))
    assert told is not None
    assert def_line(told) == "def f(arg1, k):"
    assert signature_of_tests(read_asserts("assert f(1) == 3\nassert f(2, 3) == 5")) is None


def test_the_question_shows_the_problem_word_for_word() -> None:
    asked = request_interface(Problem(prompt="Print {x} and {problem}."), Sampling(), 0)
    assert "Print {x} and {problem}." in asked.prompt[0].content  # type: ignore[union-attr]
    assert asked.fields["problem"] in asked.prompt[0].content  # type: ignore[union-attr]
