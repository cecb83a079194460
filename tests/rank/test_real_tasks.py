"""The unit-test ranker on real programs: QuixBugs' pairs, and Exercism's examples and stubs."""

import pytest

from align.io import read, rows
from align.rank import UnitTests
from align.rank.unit_tests import score
from align.schema import Problem, Response

SLOW = {"knapsack", "levenshtein"}
"""QuixBugs programs that need minutes, or much memory, when they are right."""


def scores(problems: list[Problem], programs: list[list[str]], timeout: float = 1.0) -> list[list[float | None]]:
    """The score of each problem's programs."""
    responses = [
        Response(problem_id=problem.id, sample_index=index, text=code, code=code)
        for problem, codes in zip(problems, programs, strict=True)
        for index, code in enumerate(codes)
    ]
    found = iter(UnitTests(timeout=timeout).judge(problems, responses))
    return [[score(next(found)) for _ in codes] for codes in programs]


def test_the_right_program_of_every_quixbugs_pair_ranks_above_the_buggy_one(shared) -> None:
    problems = read(shared / "data/tasks/quixbugs_python.jsonl", Problem)
    problems = [problem for problem in problems if problem.tests and problem.entry_point not in SLOW]
    assert len(problems) == 29
    pairs = [[str(problem.reference), problem.meta["buggy"]] for problem in problems]
    # a loop without an end costs its whole time, twice
    found = scores(problems, pairs, timeout=0.4)
    wrong = [
        problem.entry_point
        for problem, (right, buggy) in zip(problems, found, strict=True)
        if right != 1.0 or buggy is None or buggy >= right
    ]
    assert wrong == []


def exercism(shared, part: slice) -> tuple[list[str], int]:
    """Exercises of which the example does not rank above the stub, of those whose stub does not pass; and how many
    have tests that the executor cannot judge from outside, so that neither is ranked."""
    path = shared / "data/tasks/exercism_python_practice.jsonl"
    given = [
        (problem, row["stub"], row["stub_passes_tests"])
        for problem, (_, row) in zip(read(path, Problem), rows(path), strict=True)
    ][part]
    found = scores([problem for problem, _, _ in given], [[str(one.reference), stub] for one, stub, _ in given])
    wrong = [
        f"{problem.meta['slug']}: {example} and {stub}"
        for (problem, _, stub_passes), (example, stub) in zip(given, found, strict=True)
        if not stub_passes and example is not None and (stub is None or example <= stub)
    ]
    return wrong, sum(example is None for example, _ in found)


def test_exercism_examples_rank_above_stubs(shared) -> None:
    assert exercism(shared, slice(0, None, 8)) == ([], 0)


@pytest.mark.slow
def test_all_exercism_examples_rank_above_stubs(shared) -> None:
    wrong, unsupported = exercism(shared, slice(None))
    assert wrong == []
    assert unsupported <= 7
