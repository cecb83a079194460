"""Cases run on candidates: what is kept, what is dropped and why. Programs run without isolation, for speed."""

from pathlib import Path

import pytest

from align.schema import Problem
from align.testgen.asserts import read_asserts
from align.testgen.cases import PROMPT, Case
from align.testgen.sieve import Candidate, Proposal, Runner, Sieved, sieve

PROBLEM = Problem(prompt="Sum of the numbers above k.", entry_point="total")
COMPACT = "def total(xs, k):\n    return sum(x for x in xs if x > k)\n"
LOOP = "def total(xs, k):\n    t = 0\n    for x in xs:\n        if x > k:\n            t += x\n    return t\n"
OFF_BY_ONE = "def total(xs, k):\n    return sum(x for x in xs if x >= k)\n"
RANDOM = "import random\ndef total(xs, k):\n    return random.randrange(10 ** 12)\n"
TRUE = ["total([1, 2, 3], 1) == 5", "total([], 0) == 0", "total([5, 6], 5) == 6"]
OUTVOTED = "total([5], 5) == 5"


def case(text: str, *authors: str) -> Case:
    (test,) = read_asserts(f"assert {text}")
    return Case(test, tuple((author, 1) for author in authors or ("a", "b")))


def proposal(cases: list[Case], *programs: tuple[str, str]) -> Proposal:
    return Proposal(PROBLEM, cases, [Candidate(model, code, teacher=model != "student") for model, code in programs])


def run_all(*proposals: Proposal, **options: object) -> list[Sieved]:
    return sieve(proposals, Runner(workers=1, isolation="none"), **options)  # type: ignore[arg-type]


def run(cases: list[Case], *programs: tuple[str, str], **options: object) -> Sieved:
    return run_all(proposal(cases, *programs), **options)[0]


def reasons(found: Sieved) -> dict[str, str]:
    return {one.source.removeprefix("assert "): one.reason for one in found.dropped}


def test_what_the_agreed_programs_pass_is_kept_and_the_rest_has_a_reason() -> None:
    texts = [*TRUE, OUTVOTED, "total([4], 1) == 9", "abs(total([4], 1) - 3) < 100"]
    found = run([case(text) for text in texts], ("a", COMPACT), ("b", LOOP), ("a", OFF_BY_ONE), ("b", "def total(:"))
    assert [one.source.removeprefix("assert ") for one in found.kept] == TRUE
    assert reasons(found) == {OUTVOTED: "outvoted", texts[4]: "unsupported", texts[5]: "vacuous"}
    assert found.agreement == 0.5
    assert found.teacher_share == 0.75
    assert found.kill_rate is not None
    assert found.mutants > 5


def test_a_mutant_that_no_case_notices_lowers_the_kill_rate() -> None:
    right = ("a", COMPACT), ("b", LOOP)
    every = proposal([case(text) for text in TRUE], *right)
    one, all_of_them = run_all(proposal([case("total([], 0) == 0")], *right), every)
    assert (one.kill_rate or 0) < 0.6 < (all_of_them.kill_rate or 0)
    assert run_all(every, most_mutants=0)[0].kill_rate is None


def test_a_case_that_holds_once_and_not_again_is_flaky(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    once = (
        f"import os\ndef total(xs, k):\n    if os.path.exists({str(mark)!r}):\n        return 1\n"
        f"    open({str(mark)!r}, 'w').close()\n    return 0\n"
    )
    found = run([case("total([9], 0) == 0")], ("a", once), ("b", RANDOM))
    assert reasons(found) == {"total([9], 0) == 0": "flaky"}
    assert found.agreement == 0


def test_one_program_that_answers_at_random_spoils_no_case() -> None:
    found = run([case(text) for text in TRUE], ("a", COMPACT), ("b", LOOP), ("b", RANDOM))
    assert len(found.kept) == 3


def test_examples_of_the_text_outweigh_a_majority() -> None:
    cases = [case("total([5], 5) == 0", PROMPT), case(OUTVOTED), case("total([1, 2], 1) == 3"), case(TRUE[1])]
    other = OFF_BY_ONE.replace("x >= k", "not x < k")
    found = run(cases, ("a", OFF_BY_ONE), ("b", other), ("a", COMPACT))
    assert [one.test.call for one in found.kept] == ["total([5], 5)", "total([], 0)"]
    assert found.examples_failed == 0


def test_an_example_that_nobody_passes_is_counted() -> None:
    found = run([case("total([5], 5) == 7", PROMPT), *map(case, TRUE)], ("a", COMPACT), ("b", LOOP))
    assert found.examples_failed == 1
    assert len(found.kept) == 3


def test_a_model_s_cases_do_not_vote_for_its_own_programs() -> None:
    own = [case(text, "a") for text in TRUE]
    alone = proposal(own, ("a", COMPACT), ("a", LOOP))
    assert len(run_all(alone, own_votes=True)[0].kept) == 3
    # two wrong programs and the cases that fit them come from one model; another one's cases decide
    wrong = [case(OUTVOTED, "a"), case("total([1, 2], 1) == 3", "a")]
    other = OFF_BY_ONE.replace("x >= k", "not x < k")
    both = [*wrong, *(case(text, "b") for text in TRUE)]
    by_itself, with_another, found = run_all(
        alone,
        proposal(own, ("a", COMPACT), ("b", LOOP)),
        proposal(both, ("a", OFF_BY_ONE), ("a", other), ("c", COMPACT)),
    )
    assert by_itself.kept == ()
    assert len(with_another.kept) == 3
    assert reasons(found) == {OUTVOTED: "outvoted", "total([1, 2], 1) == 3": "outvoted"}


def test_only_teachers_count_for_the_teachers_share() -> None:
    cases = [case(text) for text in TRUE]
    assert run(cases, ("student", COMPACT), ("b", "def total(xs, k):\n    return 0\n")).teacher_share == pytest.approx(
        1 / 3
    )


def test_a_teacher_that_fails_an_example_of_the_text_is_none() -> None:
    cases = [case("total([4, 4], 4) == 9", PROMPT), *(case(text) for text in TRUE)]
    right = [case(TRUE[0], PROMPT), *(case(text) for text in TRUE[1:])]
    found = run_all(
        # both err alike, and so they agree on everything but the example, which nobody passes
        proposal(cases, ("a", COMPACT), ("b", LOOP)),
        proposal(right, ("a", COMPACT), ("b", OFF_BY_ONE)),
        proposal(right, ("student", COMPACT), ("b", OFF_BY_ONE)),
    )
    assert [one.teacher_share for one in found] == [0, 1, 0]


def test_without_programs_nothing_is_kept() -> None:
    found = run([case(text) for text in TRUE])
    assert found.kept == ()
    assert set(reasons(found).values()) == {"unsupported"}


def test_hostile_programs_break_nothing() -> None:
    hostile = [
        "\ud800",
        "def total(xs, k):\n    return '\\ud800'\n",
        "\0",
        "raise SystemExit",
        "def total(*a):\n    raise",
    ]
    found = run([case(text) for text in TRUE], ("a", COMPACT), *(("b", text) for text in hostile))
    assert len(found.kept) == 3


def test_several_problems_come_back_in_order_and_the_same_again(tmp_path: Path) -> None:
    proposals = [
        Proposal(PROBLEM, [case(text) for text in TRUE], [Candidate("a", COMPACT), Candidate("b", LOOP)]),
        Proposal(PROBLEM, [], [Candidate("a", COMPACT)]),
        Proposal(PROBLEM, [case(TRUE[0])], [Candidate("a", COMPACT)]),
    ]
    runner = Runner(workers=1, isolation="none", cache=tmp_path / "runs.sqlite")
    found = sieve(proposals, runner)
    assert [len(one.kept) for one in found] == [3, 0, 1]
    assert sieve(proposals, runner) == found
