"""Tests for problems without any."""

from collections.abc import Sequence

from align.schema import Problem
from align.testgen import Candidate, Runner, synthesise

BARE = Problem(prompt="Double x with f.", entry_point="f", meta={"task_id": 7})
CODE = "def f(x):\n    return 2 * x\n"
GOOD = "\n".join(f"assert f({x}) == {2 * x}" for x in range(6))


def reasons(text: str, **options: int) -> list[str]:
    return [entry.reason for entry in synthesise([BARE], [[text]], **options).rejected]


def test_a_problem_gets_its_asserts_and_a_new_id() -> None:
    (problem,) = synthesise([BARE], [[GOOD]]).kept
    assert problem.tests == GOOD.splitlines()
    assert problem.test_kind == "asserts"
    assert problem.meta["task_id"] == 7
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


def test_a_request_without_an_answer_is_told_apart_from_tests_that_are_too_few() -> None:
    def rejected(*texts: str | None) -> list[str]:
        return [entry.reason for entry in synthesise([BARE], [texts]).rejected]

    assert rejected(None, None) == ["no_answer"]
    assert rejected(None, "I cannot do that.") == ["few_tests"]
    assert rejected(None, GOOD) == []


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


EXAMPLED = Problem(prompt=">>> f(1)\n2\n>>> f(2)\n4", entry_point="f")


def test_examples_come_first_and_what_contradicts_them_is_dropped() -> None:
    text = "\n".join([*GOOD.splitlines(), "assert f(2) == 5"])
    found = synthesise([EXAMPLED], [[text]])
    (problem,) = found.kept
    assert problem.tests[:2] == ["assert f(1) == 2", "assert f(2) == 4"]
    assert found.dropped == {"contradicts_example": 1}
    assert problem.meta["tests"] == {"tier": "synthesised", "cases": 6, "sources": 2, "verdict": "unverified"}


def test_examples_alone_are_tests_where_there_are_enough() -> None:
    assert synthesise([EXAMPLED], None, min_tests=2).kept[0].meta["tests"]["tier"] == "extracted"
    assert [entry.reason for entry in synthesise([EXAMPLED], None).rejected] == ["few_tests"]
    assert [entry.reason for entry in synthesise([EXAMPLED], None, extract=False).rejected] == ["no_tests"]


def test_what_is_known_of_tests_never_changes_an_id() -> None:
    one = synthesise([BARE], [[GOOD]]).kept[0]
    other = synthesise([BARE], [[GOOD]], candidates=lambda problems: [[Candidate("b", CODE)] for _ in problems],
                       runner=Runner(1, isolation="none"))  # fmt: skip
    assert other.kept[0].id == one.id
    assert other.kept[0].meta["tests"]["verdict"] == "weak"


def test_a_problem_without_a_function_is_not_run() -> None:
    def solve(problems: Sequence[Problem]) -> list[list[Candidate]]:
        assert [problem.entry_point for problem in problems] == ["f"]
        return [[Candidate("b", CODE)] for _ in problems]

    runner = Runner(1, isolation="none")
    found = synthesise([Problem(prompt="Anything."), BARE], [["Sorry."], [GOOD]], candidates=solve, runner=runner)
    assert [entry.reason for entry in found.rejected] == ["few_tests"]
    assert len(found.kept) == 1
