"""How far tests can be trusted."""

import pytest

from align.schema import Problem
from align.testgen import Gate, is_verified, trust
from align.testgen.asserts import read_asserts
from align.testgen.cases import Case
from align.testgen.gates import told
from align.testgen.sieve import Sieved

PROBLEM = Problem(prompt="Double it.", entry_point="f")


def cases(count: int, *authors: str) -> tuple[Case, ...]:
    text = "\n".join(f"assert f({x}) == {2 * x}" for x in range(count))
    return tuple(Case(test, tuple((name, 1) for name in authors)) for test in read_asserts(text))


def sieved(**changed: object) -> Sieved:
    good = {
        "problem": PROBLEM,
        "kept": cases(5, "a", "b"),
        "dropped": (),
        "agreement": 0.5,
        "teacher_share": 0.8,
        "kill_rate": 0.6,
        "mutants": 10,
        "examples_failed": 0,
    }
    return Sieved(**{**good, **changed})  # type: ignore[arg-type]


def test_tests_at_every_threshold_are_verified() -> None:
    assert told(list(sieved().kept), sieved())["verdict"] == "verified"


@pytest.mark.parametrize(
    ("changed", "gate"),
    [
        ({"kept": cases(4, "a", "b")}, "min_cases"),
        ({"kept": cases(5, "a")}, "min_sources"),
        ({"teacher_share": 0.79}, "teacher_share"),
        ({"kill_rate": 0.59}, "kill_rate"),
        ({"kill_rate": None}, "kill_rate"),
        ({"examples_failed": 1}, "examples"),
    ],
)
def test_each_gate_alone_makes_them_weak(changed: dict[str, object], gate: str) -> None:
    found = sieved(**changed)
    known = told(list(found.kept), found)
    assert (known["verdict"], known["failed"]) == ("weak", [gate])
    assert Gate.model_validate({gate: 0 if gate != "examples" else False}).failed(found) == []


def test_tests_that_were_never_run_are_unverified() -> None:
    assert told(list(cases(9, "a", "b")))["verdict"] == "unverified"


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        ({}, "verified"),
        ({"tests": "mine"}, "verified"),
        ({"tests": {"verdict": "verified"}}, "verified"),
        ({"tests": {"verdict": "weak"}}, "weak"),
        ({"tests": {"verdict": "unverified"}}, "unverified"),
    ],
)
def test_native_tests_are_verified_and_unverified_never_counts_as_passed(meta: dict, expected: str) -> None:
    problem = Problem(prompt="p", tests=["assert f(1) == 2"], meta=meta)
    assert trust(problem) == expected
    assert is_verified(problem) is (expected == "verified")


def test_a_problem_without_tests_is_not_verified() -> None:
    assert trust(PROBLEM) is None
    assert not is_verified(PROBLEM)
