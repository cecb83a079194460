"""Checks that hold from the interface alone."""

import pytest

from align.testgen.asserts import read_asserts
from align.testgen.inputs import Call
from align.testgen.properties import checks, named_parameters, returned_types


@pytest.mark.parametrize(
    ("signature", "types"),
    [
        ("def f(x) -> int:", ["int"]),
        ("def f(x) -> float:", ["int", "float"]),
        ("def f(x) -> List[int]:", ["list"]),
        ("def f(x) -> typing.Optional[str]:", ["str", "type(None)"]),
        ("def f(x) -> str | None:", ["str", "type(None)"]),
        ("def f(x) -> Union[int, dict[str, int]]:", ["int", "dict"]),
        ("def f(x) -> None:", ["type(None)"]),
        ("def f(x) -> Any:", []),
        ("def f(x) -> Optional[Tree]:", []),
        ("def f(x):", []),
        ("not python", []),
        (f"def f() -> {'int | ' * 490}int:", []),
        (None, []),
    ],
)
def test_an_annotation_tells_what_may_be_returned(signature: str | None, types: list[str]) -> None:
    assert returned_types(signature, []) == types


def test_examples_tell_it_where_there_is_no_annotation() -> None:
    examples = list(read_asserts("assert f(1) == [1]\nassert f(0) is None"))
    assert returned_types("def f(x):", examples) == ["list", "type(None)"]
    assert returned_types("def f(x) -> str:", examples) == ["str"]
    # 1 may stand where another call gives 1.5
    assert returned_types(None, list(read_asserts("assert f(1) == 2"))) == ["int", "float"]


def test_a_call_is_checked_to_return_the_right_type_twice_the_same() -> None:
    call = Call("f", ([1], 2))
    assert [check.source for check in checks(call, ["list"], ["xs", "k"])] == [
        "assert isinstance(f([1], 2), list)",
        "assert f([1], 2) == f([1], k=2)",
    ]
    assert [check.source for check in checks(call, ["int", "float"], None)] == [
        "assert isinstance(f([1], 2), (int, float))"
    ]
    assert [check.source for check in checks(Call("f", ()), [], ["x"])] == ["assert isinstance(f(), object)"]


def test_parameters_that_have_no_name_to_be_given_by_are_not_used() -> None:
    assert named_parameters("def f(a, b=1):") == ["a", "b"]
    for signature in ("def f(*a):", "def f(a, /):", "def f(a, *, b):", "nonsense", None):
        assert named_parameters(signature) is None
