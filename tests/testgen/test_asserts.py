"""Reading asserts out of answers."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from align.testgen.asserts import read_asserts


def sources(text: str) -> list[str]:
    return [test.source for test in read_asserts(text)]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("assert f([1,2]) == [2,1]", "assert f([1, 2]) == [2, 1]"),
        ("assert [2, 1] == f([1, 2])", "assert f([1, 2]) == [2, 1]"),
        ("assert f(1, base=-2) == {'a': (1,)}, 'message'", "assert f(1, base=-2) == {'a': (1,)}"),
        ("assert f('x') is None", "assert f('x') is None"),
        ("assert f(0)", "assert f(0)"),
        ("assert not f(0)", "assert not f(0)"),
        ("assert abs(f(2) - 1.414) < 1e-3", "assert abs(f(2) - 1.414) < 0.001"),
    ],
)
def test_a_call_with_literal_values_is_taken(written: str, expected: str) -> None:
    assert sources(written) == [expected]


@pytest.mark.parametrize(
    "written",
    [
        "assert f(x) == 1",
        "assert f(1) == g(1)",
        "assert f(1) == f(1)",
        "assert f(open('a').read()) == 1",
        "assert f(*[1, 2]) == 3",
        "assert f(**{'a': 1}) == 3",
        "assert obj.f(1) == 1",
        "assert 1 == 1",
        "assert f(1) != 2",
        "assert f(1) == 1 == g(1)",
        "assert isinstance(f(1), int) and f(1) == 2",
        "assert abs(f(2) - g(2)) < 1e-3",
        "assert f([1, ...]) == 2",
        "print(f(1))",
    ],
)
def test_anything_else_is_left_out(written: str) -> None:
    assert sources(written) == []


def test_fenced_blocks_are_read_and_prose_is_not() -> None:
    text = "Sure: assert f(9) == 9\n```python\nassert f(1) == 2\n```\nand\n```\nassert f(2) == 3\n```"
    assert sources(text) == ["assert f(1) == 2", "assert f(2) == 3"]


def test_asserts_inside_test_functions_are_taken() -> None:
    assert sources("```python\ndef test_f():\n    assert f(1) == 2\n```") == ["assert f(1) == 2"]


def test_a_cut_off_answer_loses_its_last_line_alone() -> None:
    assert sources("```python\nassert f(1) == 2\nassert f(2) == 3\nassert f([4, ") == [
        "assert f(1) == 2",
        "assert f(2) == 3",
    ]


def test_asserts_that_are_broken_into_lines_are_taken_where_the_whole_does_not_parse() -> None:
    text = "assert \n    f([], 1) == False, 'Empty'\nassert f(1,\n  2) == 3\nassert\n"
    assert sources(text) == ["assert f([], 1) == False", "assert f(1, 2) == 3"]


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    for source in sources(text):
        ast.parse(source)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(VALUES, VALUES)
def test_every_literal_comes_back_with_its_value(value: object, result: object) -> None:
    (test,) = read_asserts(f"assert f({value!r}) == {result!r}")
    assert ast.literal_eval(test.expected) == result
    assert ast.literal_eval(test.call.removeprefix("f")) == value


def test_a_number_too_long_to_be_written_breaks_nothing() -> None:
    huge = "0x" + "f" * 5000
    found = read_asserts(f"assert f({huge}) == 1\nassert f(1) == {huge}\nassert f(2) == 3")
    assert [test.source for test in found] == ["assert f(2) == 3"]
