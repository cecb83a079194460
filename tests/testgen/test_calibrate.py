"""Synthesised tests measured by the real ones."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from align.errors import DataError
from align.io import read, rows
from align.schema import Problem
from align.testgen.calibrate import calibrate, hidden, summary
from align.testgen.sieve import Candidate, Runner

RIGHT = ["def f(x):\n    return 2 * x\n", "def f(x):\n    return x + x\n"]
WRONG = ["def f(x):\n    return x * x\n", "def f(x):\n    return x\n"]
PROBLEM = Problem(
    prompt="Double x with f.",
    entry_point="f",
    tests=["assert f(3) == 6", "assert f(-1) == -2"],
    reference=RIGHT[0],
    meta={"task_id": "mine/1"},
)
TRUE = "\n".join(f"assert f({x}) == {2 * x}" for x in (0, 2, 3, 5, 7))
GATES = ("min_sources", "teacher_share", "kill_rate", "examples")
FALSE = "assert f(4) == 16\nassert f(6) == 36"


def run(text: str, programs: list[str], **options: object) -> dict:
    candidates = [Candidate("b", code) for code in programs]
    runner = Runner(workers=1, isolation="none")
    return summary(calibrate([PROBLEM], [[("a", text)]], lambda _: [candidates], runner=runner, **options))  # type: ignore[arg-type]


def test_what_is_hidden_is_hidden() -> None:
    bare = hidden(PROBLEM)
    assert (bare.tests, bare.reference, bare.entry_point) == ([], None, "f")


def test_precision_and_verdicts_are_measured_against_the_truth() -> None:
    told = run(f"{TRUE}\n{FALSE}", [*RIGHT, *WRONG])
    assert told["proposed"]["precision"] == pytest.approx(5 / 7, abs=1e-4)
    assert told["sieved"] == {
        "problems": 1,
        "cases": 5,
        "precision": 1.0,
        "programs": 4,
        "false_pass": 0.0,
        "false_fail": 0.0,
        "right_of_passing": 1.0,
        "tau": pytest.approx(told["sieved"]["tau"]),
        "tau_problems": 1,
    }
    assert told["by_gate"]["min_sources"]["failed"]["problems"] == 1
    assert told["by_gate"]["min_cases"]["passed"]["problems"] == 1
    assert told["by_verdict"]["weak"]["problems"] == 1


def test_tests_that_are_false_are_exposed() -> None:
    # three wrong programs agree with wrong tests
    told = run(f"{FALSE}\nassert f(3) == 9\nassert f(5) == 25\nassert f(7) == 49", [WRONG[0], RIGHT[0]])
    assert told["sieved"]["precision"] == 0
    assert told["sieved"]["false_pass"] == 1
    assert told["sieved"]["false_fail"] == 1
    assert told["sieved"]["tau"] == -1


def test_those_who_vote_may_be_others_than_those_that_are_judged() -> None:
    told = run(f"{TRUE}\n{FALSE}", [*RIGHT, *WRONG], voters=2)
    assert told["sieved"]["programs"] == 2
    assert told["sieved"]["false_pass"] == 0
    assert told["sieved"]["tau"] is None


def test_nothing_left_is_counted_as_rejected() -> None:
    told = run("I cannot.", RIGHT)
    assert (told["problems"], told["rejected"]) == (1, 1)
    assert told["sieved"]["problems"] == 0


def test_a_problem_without_tests_or_without_a_function_is_one_clear_line() -> None:
    with pytest.raises(DataError, match=r"^problem 'mine/1' has no tests to measure others by: leave it out$"):
        calibrate([hidden(PROBLEM)], [[]], lambda _: [[]])
    nameless = Problem(
        prompt="Read two numbers, print their sum.", tests=['{"input": "1 2", "output": "3"}'], test_kind="io"
    )
    with pytest.raises(DataError, match="names no function that tests could call"):
        calibrate([nameless], [[]], lambda _: [[]])


def humaneval(shared: Path, step: int, texts: int, voters: int) -> dict[str, Any]:
    """Every so many-th problem with CodeGen-16B's own tests and samples: as many programs are judged as vote."""
    problems = read(shared / "data/eval/HumanEval.jsonl.gz", Problem)[::step]
    samples: defaultdict[str, list[str]] = defaultdict(list)
    for _, row in rows(shared / "data/ranked/codegen16b_humaneval_samples.jsonl.gz"):
        samples[row["task_id"]].append(row["completion"])
    written = {
        row["task_id"]: [("codegen", f"assert {text}") for text in row["samples"][:texts]]
        for _, row in rows(shared / "data/ranked/codegen16b_humaneval_tests.jsonl.gz")
    }
    candidates = [
        [Candidate("codegen", f"{one.prompt}{text}") for text in samples[one.meta["task_id"]][: 2 * voters]]
        for one in problems
    ]
    found = calibrate(
        problems,
        [written[problem.meta["task_id"]] for problem in problems],
        lambda _: candidates,
        voters=voters,
        per_problem=5,
        runner=Runner(timeout=0.1),
        own_votes=True,
    )
    return summary(found)


def test_on_humaneval_the_sieve_moves_the_figures_the_right_way(shared: Path) -> None:
    told = humaneval(shared, step=40, texts=15, voters=8)
    assert told["cases_by_tier"]["extracted"]["precision"] == 1.0
    assert told["sieved"]["precision"] > told["proposed"]["precision"] + 0.1
    assert told["sieved"]["false_fail"] < told["proposed"]["false_fail"]
    assert told["sieved"]["tau"] > told["proposed"]["tau"]


@pytest.mark.slow
def test_on_humaneval_every_gate_moves_the_figures_the_right_way(shared: Path) -> None:
    told = humaneval(shared, step=4, texts=100, voters=20)
    verified, weak = told["by_verdict"]["verified"], told["by_verdict"]["weak"]
    for good, bad in [
        (verified, weak),
        *((told["by_gate"][name]["passed"], told["by_gate"][name]["failed"]) for name in GATES),
    ]:
        assert good["precision"] > bad["precision"]
        assert good["right_of_passing"] > bad["right_of_passing"]
        assert good["tau"] > bad["tau"]
    assert verified["precision"] > told["sieved"]["precision"] > told["proposed"]["precision"]
