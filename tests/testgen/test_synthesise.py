"""Tests for problems without any."""

from align.schema import Problem
from align.testgen import synthesise

BARE = Problem(prompt="Double x with f.", entry_point="f", meta={"task_id": 7})
GOOD = "\n".join(f"assert f({x}) == {2 * x}" for x in range(6))


def reasons(text: str, **options: int) -> list[str]:
    return [entry.reason for entry in synthesise([BARE], [[text]], **options).rejected]


def test_a_problem_gets_its_asserts_and_a_new_id() -> None:
    (problem,) = synthesise([BARE], [[GOOD]]).kept
    assert problem.tests == GOOD.splitlines()
    assert problem.test_kind == "asserts"
    assert problem.meta == {"task_id": 7}
    assert problem.id != BARE.id


def test_native_tests_stay_and_take_no_answer() -> None:
    native = Problem(prompt="Native.", tests=["assert g() == 1"])
    found = synthesise([native, BARE, native], [[GOOD]])
    assert found.native == 2
    assert found.kept[0] == found.kept[2] == native
    assert found.kept[1].prompt == BARE.prompt


def test_too_few_tests_are_rejected() -> None:
    assert reasons("assert f(1) == 2\nassert f(2) == 4", min_tests=3) == ["few_tests"]
    assert reasons("I cannot do that.") == ["few_tests"]
    assert reasons("assert f(1) == 2\nassert f(2) == 4", min_tests=2) == []


def test_tests_that_one_constant_passes_are_rejected() -> None:
    assert reasons("\n".join(f"assert f({x}) == 0" for x in range(6))) == ["vacuous"]
    assert reasons("\n".join(f"assert f({x})" for x in range(6))) == ["vacuous"]


def test_tests_of_other_functions_are_left_out() -> None:
    (problem,) = synthesise([BARE], [[GOOD + "\nassert g(1) == 1"]]).kept
    assert problem.tests == GOOD.splitlines()


def test_answers_of_several_models_are_joined_without_repeats_and_contradictions() -> None:
    other = "assert f(0) == 0\nassert f(1) == 3\nassert f(9) == 18"
    (problem,) = synthesise([BARE], [[GOOD, other]]).kept
    calls = [test.split(" == ")[0] for test in problem.tests]
    assert calls == [f"assert f({x})" for x in (0, 2, 3, 4, 5, 9)]


def test_no_model_gives_more_than_its_share() -> None:
    (problem,) = synthesise([BARE], [[GOOD, "assert f(8) == 16"]], per_problem=5).kept
    assert len(problem.tests) == 6
    assert "assert f(5) == 10" not in problem.tests


def test_a_problem_without_entry_point_takes_the_function_that_is_called_most() -> None:
    bare = Problem(prompt="Double x.")
    (problem,) = synthesise([bare], [[GOOD + "\nassert h(1) == 1"]]).kept
    assert problem.entry_point == "f"
    assert len(problem.tests) == 6
