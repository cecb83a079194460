"""Unit tests for problems that have none, asked of one or more models and sieved. Runs nothing.

Tests are asked for from the problem alone, never from a candidate program. Whether the tests are true is not
known here: consensus and calibration are other steps.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..generate.ask import ask, derive_seed
from ..generate.request import Request, Sampling
from ..schema import Problem, Rejected
from ..text.template import prompt_text
from .asserts import Assert, read_asserts


@dataclass
class Synthesis:
    """Problems with tests, and those for which none could be had."""

    kept: list[Problem] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    native: int = 0
    """How many had tests of their own."""


def request_tests(problem: Problem, per_problem: int, sampling: Sampling, seed: int) -> Request:
    """The request for tests of one problem.

    Raises:
        DataError: the prompt is a chat of several turns.
    """
    fields = {
        "problem": prompt_text(problem),
        "count": str(per_problem),
        "entry_point": problem.entry_point or "",
        "signature": problem.signature or "",
    }
    return ask("write_tests", fields, sampling, derive_seed("write_tests", seed, problem.id))


def synthesise(
    problems: Iterable[Problem], answers: Sequence[Sequence[str]] | None, *, per_problem: int = 10, min_tests: int = 5
) -> Synthesis:
    """Give each problem without tests the usable asserts of its answers.

    Args:
        problems: those with tests keep them.
        answers: for each problem without tests, in order, what each model wrote; None: nobody was asked.
        per_problem: most asserts taken from one answer.
        min_tests: a problem with fewer is rejected.

    Rejected are problems without tests where nobody was asked (`no_tests`), with too few (`few_tests`), and those whose
    tests one constant passes (`vacuous`). Of tests that make the same call and disagree on its value none is kept.
    """
    result = Synthesis()
    waiting = iter(answers or ())
    for problem in problems:
        if problem.tests:
            result.kept.append(problem)
            result.native += 1
            continue
        if answers is None:
            result.rejected.append(Rejected(reason="no_tests", detail="nobody wrote any", record=problem.model_dump()))
            continue
        found = [test for text in next(waiting) for test in _usable(text, problem.entry_point, per_problem)]
        entry_point = problem.entry_point or _most_called(found)
        tests = _agreed(test for test in found if test.function == entry_point)
        if reason := _reason(tests, min_tests):
            detail = f"{len(tests)} usable tests"
            result.rejected.append(Rejected(reason=reason, detail=detail, record=problem.model_dump()))
        else:
            result.kept.append(_with_tests(problem, entry_point, tests))
    return result


def _usable(text: str, entry_point: str | None, most: int) -> list[Assert]:
    tests = [test for test in read_asserts(text) if entry_point in (None, test.function)]
    return tests[:most]


def _most_called(tests: list[Assert]) -> str | None:
    counted = Counter(test.function for test in tests).most_common(1)
    return counted[0][0] if counted else None


def _agreed(tests: Iterable[Assert]) -> list[Assert]:
    """One test a call, without those calls for which different values are expected."""
    by_call: dict[str, list[Assert]] = {}
    for test in tests:
        by_call.setdefault(test.call, []).append(test)
    return [same[0] for same in by_call.values() if len({test.expected for test in same}) == 1]


def _reason(tests: list[Assert], min_tests: int) -> str | None:
    if len(tests) < min_tests:
        return "few_tests"
    if len({test.expected for test in tests}) == 1:
        return "vacuous"
    return None


def _with_tests(problem: Problem, entry_point: str | None, tests: list[Assert]) -> Problem:
    changed = {"tests": [test.source for test in tests], "test_kind": "asserts", "entry_point": entry_point}
    # built anew rather than copied: the id follows from the tests
    return Problem(**{**problem.model_dump(exclude={"id"}), **changed})
