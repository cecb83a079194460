"""Small wrong changes to programs."""

import ast

import pytest

from align.testgen.mutants import mutants

PROGRAM = '''
def f(xs, k=2):
    """Sum of what is even and above k."""
    total = 0
    for x in xs[1:]:
        if x > k and not x % 2:
            total += max(x, -1)
    return total
'''


def test_every_mutant_is_a_distinct_program_that_differs_from_the_first() -> None:
    found = mutants(PROGRAM, 1000)
    assert len(found) == len(set(found)) > 20
    for mutant in found:
        assert ast.dump(ast.parse(mutant)) != ast.dump(ast.parse(PROGRAM))


@pytest.mark.parametrize(
    "changed",
    ["x >= k", "x > k or not", "not not x % 2", "x // 2", "total -= max", "min(x, -1)", "k=3", "total = 1", "xs[2:]",
     "xs[:]", "return None", "not (x > k and (not x % 2))", "+1"],
)  # fmt: skip
def test_the_usual_operators_are_there(changed: str) -> None:
    assert any(changed in mutant for mutant in mutants(PROGRAM, 1000))


def test_the_draw_is_the_same_for_a_seed_and_another_for_another() -> None:
    assert mutants(PROGRAM, 8, "a") == mutants(PROGRAM, 8, "a")
    assert mutants(PROGRAM, 8, "a") != mutants(PROGRAM, 8, "b")
    assert len(mutants(PROGRAM, 8)) == 8


@pytest.mark.parametrize("source", ["", "def f(:", "\ud800", "def f():\n    pass\n", "x = 1\n" * 20_000])
def test_what_cannot_be_changed_has_none(source: str) -> None:
    assert mutants(source) == []


@pytest.mark.parametrize("deep", ["-" * 900 + "x", "1 + " * 900 + "x", "-" * 3000 + "x"])
def test_what_is_nested_too_deep_has_none(deep: str) -> None:
    assert mutants(f"def f(x):\n    return {deep}\n") == []
    assert mutants("def f(x):\n    return " + "(" * 150 + "x" + ")" * 150) == ["def f(x):\n    return None"]
