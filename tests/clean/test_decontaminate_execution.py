"""Paraphrases of benchmarks, found by running."""

import json
from pathlib import Path

import pytest

from align.clean.decontaminate import Decontaminator, Hit
from align.clean.decontaminate.functions import FUNCTIONS, functions
from align.clean.decontaminate.probes import probed, read_probes
from align.clean.decontaminate.sought import sought
from align.io import read, rows
from align.schema import Problem

RUNS = Problem(
    prompt="Lengths of runs.",
    entry_point="runs",
    tests=[
        "assert runs([1, 1, 2]) == [2, 1]",
        "assert runs([]) == []",
        "assert runs([3, 3, 3, 4, 3]) == [3, 1, 1]",
    ],
    meta={"task_id": "Runs/1"},
)
CHECK = Problem(
    prompt='def halves(n):\n    """All halves."""\n',
    entry_point="halves",
    test_kind="check",
    tests=[
        "def check(candidate):\n    assert candidate(9) == [4, 2, 1]\n    assert candidate(4) == [2, 1]\n"
        "    assert candidate(1) == []\n    for n in range(3):\n        assert isinstance(candidate(n), list)\n"
    ],
    meta={"task_id": "Halves/1"},
)
ADD = Problem(
    prompt="Add.",
    entry_point="add",
    tests=["assert add(1, 2) == 3", "assert add(5, 5) == 10", "assert add(0, 7) == 7", "assert add(-1, 1) == 0"],
    meta={"task_id": "Add/1"},
)
PARAPHRASE = """
import itertools

def how_long(values):
    return [sum(1 for _ in group) for _, group in itertools.groupby(values)]
"""
HALVES = "def shrink(n):\n    out = []\n    while n > 1:\n        n //= 2\n        out.append(n)\n    return out\n"


def found(*programs: str, benchmark: Problem = RUNS) -> dict[int, Hit]:
    decontaminator = Decontaminator([("b", [benchmark])], methods=["execution"])
    return dict(decontaminator.by_execution(enumerate(programs), workers=1))


def test_a_program_in_other_words_is_found_and_others_are_not() -> None:
    hits = found("def f(x):\n    return [len(x)]\n", PARAPHRASE, "def f(x, y):\n    return x\n", "no program")
    assert hits == {1: Hit("execution", "b", "Runs/1", "how_long passes 3 of 3 tests")}


def test_the_program_of_an_answer_a_method_and_a_lambda_are_found() -> None:
    answer = f"Like this:\n```python\n{PARAPHRASE}```\nDone."
    method = "class Solution:\n    def go(self, v):\n        import itertools\n"
    method += "        return [len(list(g)) for _, g in itertools.groupby(v)]\n"
    one_line = "from itertools import groupby\nrun = lambda v: [len(list(g)) for _, g in groupby(v)]\n"
    assert list(found(answer, method, one_line)) == [0, 1, 2]


def test_what_a_program_does_when_it_is_run_is_left_out() -> None:
    script = (
        f"{PARAPHRASE}\nn = int(input())\nassert False\nprint(how_long(n))\nif __name__ == '__main__':\n    exit(1)\n"
    )
    assert list(found(script)) == [0]


def test_calls_that_never_end_do_not_hide_another_problem() -> None:
    loops = "def f(n):\n    while isinstance(n, list):\n        pass\n" + HALVES.partition("\n")[2]
    decontaminator = Decontaminator([("b", [RUNS, CHECK])], methods=["execution"])
    hits = dict(decontaminator.by_execution([(0, loops)], workers=1))
    assert hits[0].problem == "Halves/1"
    assert decontaminator.examined.unfinished == 0


def test_tests_of_kind_check_find_a_program_under_any_name() -> None:
    assert list(found(HALVES, HALVES.replace("> 1", "> 0"), benchmark=CHECK)) == [0]


@pytest.mark.parametrize("with_output", [True, False])
def test_tests_of_kind_calls_find_a_program(with_output: bool) -> None:
    outputs = {9: [4, 2, 1], 4: [2, 1], 1: [], 20: [10, 5, 2, 1]}
    entries = [{"input": [n], **({"output": out} if with_output else {})} for n, out in outputs.items()]
    problem = Problem(
        prompt="Halves.",
        entry_point="halves",
        test_kind="calls",
        tests=[json.dumps(entry) for entry in entries],
        reference=HALVES.replace("shrink", "halves"),
    )
    wrong = HALVES.replace("n //= 2", "n -= 2")
    assert list(found(wrong, HALVES, benchmark=problem)) == [1]


def test_a_problem_that_anybodys_program_solves_is_not_looked_for() -> None:
    assert found("def plus(a, b):\n    return b + a\n", benchmark=ADD) == {}


def test_a_problem_that_one_value_passes_is_not_looked_for() -> None:
    tests = ["assert odd(1) == True", "assert odd(2) == False", "assert odd(3) == True"]
    (one,) = probed(sought([("b", [Problem(prompt="Odd?", entry_point="odd", tests=tests)])]))
    assert not one.is_telling
    assert probed(sought([("b", [RUNS])]))[0].is_telling


def test_probes_are_single_calls_with_literals() -> None:
    problem = Problem(
        prompt="",
        entry_point="f",
        tests=[
            "assert f(1, [2]) == 3",
            "assert abs(f(1, -2.5) - 0.5) < 1e-6, 'so'",
            "assert f(g(1), 2) == 3",
            "assert f(1, 2) == f(2, 1)",
            "assert f(1, 2) == other",
            "assert f(*[1, 2]) == 3",
        ],
    )
    probes = list(read_probes(problem))
    assert [probe.source for probe in probes] == [
        "assert candidate_(1, [2]) == 3",
        "assert abs(candidate_(1, -2.5) - 0.5) < 1e-06",
    ]
    assert probes[1].expected == "abs(_ - 0.5) < 1e-06"


def test_functions_say_how_many_arguments_they_take() -> None:
    code = "def a(x, y=1): ...\ndef b(*x): ...\ndef c(*, k): ...\nasync def d(x): ...\n"
    a, b, c = functions(code)
    assert (a.takes(0), a.takes(1), a.takes(2), a.takes(3)) == (False, True, True, False)
    assert b.takes(0)
    assert b.takes(7)
    assert not any(c.takes(count) for count in range(9))
    assert len(functions("\n".join(f"def f{n}(): ..." for n in range(20)))) == FUNCTIONS


@pytest.mark.parametrize("text", ["", "\x00", "\ud800", "def f(x):\n return '\ud800'\n", "(" * 9000, "-" * 9000 + "1"])
def test_any_text_may_stand_for_a_program(text: str) -> None:
    assert functions(text) == []


def test_results_come_from_the_cache_and_counts_tell_what_ran(tmp_path: Path) -> None:
    decontaminator = Decontaminator([("b", [RUNS, CHECK])], methods=["execution"])
    programs = [(7, PARAPHRASE), (3, HALVES), (5, "x = 1")]
    hits = [list(decontaminator.by_execution(programs, workers=1, cache=tmp_path / "c.sqlite")) for _ in range(2)]
    assert hits[0] == hits[1]
    assert [row for row, _ in hits[0]] == [7, 3]
    examined = decontaminator.examined
    assert (examined.rows, examined.without_function, examined.swept, examined.tested) == (6, 2, 4, 4)


@pytest.mark.slow
def test_paraphrases_of_humaneval_are_mostly_found(shared: Path) -> None:
    problems = read(shared / "data" / "eval" / "HumanEval.jsonl.gz", Problem)
    names = {problem.meta["task_id"] for problem in problems}
    path = Path(__file__).parents[2] / "scripts" / "bench" / "data" / "paraphrases.jsonl"
    told = [row for _, row in rows(path) if row["task_id"] in names and "code" in row]
    decontaminator = Decontaminator([("humaneval", problems)], methods=["execution"])
    hits = dict(decontaminator.by_execution(enumerate(row["code"] for row in told)))
    right = [hits[number].problem == row["task_id"] for number, row in enumerate(told) if number in hits]
    assert len(hits) > 0.8 * len(told)
    assert sum(right) > 0.9 * len(hits)
