"""Cases that nobody wrote, made of runs. Programs run without isolation, for speed."""

import pytest

from align.schema import Problem
from align.testgen import Runner, is_verified, synthesise
from align.testgen.asserts import read_asserts
from align.testgen.cases import PROMPT, Case, Further
from align.testgen.sieve import Candidate, Proposal, Sieved, sieve
from align.testgen.values import returned_asserts

PROBLEM = Problem(
    prompt="Sum of the numbers above k.", entry_point="total", signature="def total(xs: list, k: int) -> int:"
)
COMPACT = "def total(xs, k):\n    return sum(x for x in xs if x > k)\n"
LOOP = "def total(xs, k):\n    t = 0\n    for x in xs:\n        if x > k:\n            t += x\n    return t\n"
AT_LEAST = "def total(xs, k):\n    return sum(x for x in xs if x >= k)\n"
BREAKS = "def total(xs, k):\n    return max(xs) and sum(x for x in xs if x > k)\n"
TEXT = "def total(xs, k):\n    return str(sum(x for x in xs if x > k))\n"
RANDOM = "import random\ndef total(xs, k):\n    return random.randrange(10 ** 12)\n"
WRITTEN = ["total([1, 2, 3], 0) == 6", "total([2, 5], 1) == 7", "total([7], 3) == 0", "total([4, 3], 4) == 7"]
RUNNER = Runner(workers=1, isolation="none")


def case(text: str, *authors: str) -> Case:
    (test,) = read_asserts(f"assert {text}")
    return Case(test, tuple((author, 1) for author in authors or ("a", "b")))


def run(programs: list[tuple[str, str]], *further: Further, written: list[str] = WRITTEN, own: bool = False) -> Sieved:
    candidates = [Candidate(model, code) for model, code in programs]
    proposal = Proposal(PROBLEM, [case(text) for text in written], candidates)
    return sieve([proposal], RUNNER, further=further, own_votes=own)[0]


def made(found: Sieved, tier: Further) -> list[Case]:
    return [one for one in found.kept if one.further == tier]


BOTH = [("a", COMPACT), ("b", LOOP), ("a", AT_LEAST), ("b", COMPACT + "\n# again\n")]


def test_without_being_asked_nothing_is_made() -> None:
    found = run(BOTH)
    assert found.further == ()
    assert [one.source.removeprefix("assert ") for one in found.kept] == WRITTEN[:2]


def test_what_two_models_agree_on_where_programs_differ_becomes_a_case() -> None:
    found = made(run(BOTH, "differential"), "differential")
    assert found
    space: dict[str, object] = {}
    exec(COMPACT, space)
    for one in found:
        exec(one.source, space)
        assert 2 / 3 <= (one.confidence or 0) <= 1
    exec(AT_LEAST, space)
    with pytest.raises(AssertionError):
        exec("\n".join(one.source for one in found), space)
    # a call that has a value already, and those of written cases that nobody passes, which were seen
    calls = [one.test.call for one in found]
    assert "total([2, 5], 1)" not in calls
    assert "total([4, 3], 4)" in calls


def test_one_model_alone_makes_none_but_where_it_may_vote_for_itself() -> None:
    alone = [("a", COMPACT), ("a", LOOP), ("a", AT_LEAST)]
    assert made(run(alone, "differential"), "differential") == []
    assert made(run(alone, "differential", own=True), "differential") != []


def test_where_all_programs_do_the_same_nothing_is_to_be_told() -> None:
    assert run([("a", COMPACT), ("b", LOOP)], "differential", "property").further == ()


def test_checks_of_the_interface_are_those_that_a_program_fails() -> None:
    found = made(run([*BOTH, ("a", TEXT), ("b", RANDOM)], "property"), "property")
    forms = {one.source.split("(")[0] for one in found}
    assert forms == {"assert isinstance", "assert total"}
    assert 2 <= len(found) <= 4


def test_what_they_make_counts_for_no_gate_that_asks_who_wrote_tests() -> None:
    written = [case(text, PROMPT) for text in WRITTEN[:1]]
    candidates = [Candidate(model, code) for model, code in [*BOTH, ("a", TEXT)]]
    tiers: tuple[Further, ...] = ("differential", "property")
    (with_one,) = sieve([Proposal(PROBLEM, written, candidates)], RUNNER, further=tiers)
    (without,) = sieve([Proposal(PROBLEM, written, candidates)], RUNNER)
    assert len(with_one.kept) > 5
    assert with_one.teacher_share == without.teacher_share
    assert (with_one.kill_rate or 0) >= (without.kill_rate or 0)


def test_a_problem_that_has_nothing_else_is_weak_at_best() -> None:
    # the written cases are all false, and give nothing but their calls
    false = "\n".join(f"assert total([{x}, 2, 5], {x}) == 100" for x in range(6))
    found = synthesise(
        [PROBLEM],
        [[false]],
        candidates=lambda problems: [[Candidate(model, code) for model, code in BOTH] for _ in problems],
        runner=RUNNER,
        further=["differential", "property"],
        min_tests=1,
    )
    (problem,) = found.kept
    told = problem.meta["tests"]
    assert told["tier"] == "differential"
    assert told["verdict"] == "weak"
    assert {"min_cases", "min_sources"} <= set(told["failed"])
    assert not is_verified(problem)
    assert [entry["tier"] for entry in told["further"]] == ["differential"] * told["tiers"]["differential"]
    assert all(0 < entry["confidence"] <= 1 for entry in told["further"])


def test_hostile_programs_and_values_break_nothing() -> None:
    hostile = [
        "def total(xs, k):\n    return '\\ud800' * 1000\n",
        "def total(xs, k):\n    raise KeyError('5')\n",
        "import sys\ndef total(xs, k):\n    sys.stderr.write('KeyError: 7')\n    return [float('nan')]\n",
        "\0",
    ]
    found = run([*BOTH, *(("b", text) for text in hostile)], "differential", "property")
    space: dict[str, object] = {}
    exec("\n".join([COMPACT, *(one.source for one in made(found, "differential"))]), space)
    assert [one.source.removeprefix("assert ") for one in found.kept if not one.further] == WRITTEN[:2]


def test_values_are_told_as_literals_or_not_at_all() -> None:
    codes = {
        "[xs, 'a\\n']": "total([1], 2) == [[1], 'a\\n']",
        "None": "total([1], 2) is None",
        "0.5": "abs(total([1], 2) - 0.5) < 1e-06",
        "[0.5]": None,
        "float('nan')": None,
        "'x' * 1000": None,
        "object()": None,
        "1 / 0": None,
        "(1,)": "total([1], 2) == (1,)",
    }
    items = [(PROBLEM, f"def total(xs, k):\n    return {code}\n", "total([1], 2)") for code in codes]
    found = returned_asserts(items, RUNNER)
    assert [one and one.source.removeprefix("assert ") for one in found] == list(codes.values())
