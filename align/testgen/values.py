"""Learn what programs return to calls, as literals. A program may lie about nothing but its own value: it is the tests'
side that writes it down; and what is made of it is to be run again."""

import ast
from collections.abc import Iterable
from itertools import tee

from ..errors import BackendError
from ..execute import Execution, Pool, program_for
from ..schema import Problem
from .asserts import Assert, read_asserts
from .passes import Runner

TOLERANCE = 1e-06
"""Of an expected `float`, as HumanEval's own tests have it."""
LONGEST = 300
"""Characters of a value: what tells it is cut off at 500."""
_RAISED = "KeyError: "

Item = tuple[Problem, str, str]
"""A problem, a program, and a call."""


def returned_asserts(items: Iterable[Item], runner: Runner) -> list[Assert | None]:
    """For each item the assert that the call gives what the program returns; None where that is no short literal.

    Raises:
        BackendError: programs cannot be run on this machine.
    """
    asked, given = tee(items)
    with Pool(
        runner.workers, isolation=runner.isolation, cache=runner.cache_of("values"), profile=runner.profile
    ) as pool:
        runs = pool.run(program_for(_showing(problem, call), solution=code) for problem, code, call in asked)
        return [_assert(call, _said(execution)) for (_, _, call), execution in zip(given, runs, strict=True)]


def _said(execution: Execution) -> str:
    if execution.outcome == "infra_error":
        raise BackendError(f"a program was lost twice while it ran ({execution.reason}): run it again")
    return execution.stderr_tail or ""


def _showing(problem: Problem, call: str) -> Problem:
    """The problem with one test, which raises what the call returns."""
    kept = problem.model_dump(exclude={"id", "meta", "tests", "test_kind", "reference", "atol"})
    return Problem(**kept, tests=[f"assert {{}}[repr({call})]"])


def _assert(call: str, tail: str) -> Assert | None:
    """The assert that a failure's text amounts to."""
    lines = tail.split("\n", 1)[0]
    if not lines.startswith(_RAISED) or len(lines) > LONGEST:
        return None
    try:
        shown = ast.literal_eval(lines.removeprefix(_RAISED))
        value = ast.literal_eval(shown)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return None
    if isinstance(value, float):
        written = f"abs({call} - {value!r}) < {TOLERANCE!r}"
    elif _has_float(value):
        # equal programs may differ in the last digit
        return None
    else:
        written = f"{call} {'is' if value is None else '=='} {value!r}"
    return next(iter(read_asserts(f"assert {written}")), None)


def _has_float(value: object) -> bool:
    inner = [*value, *value.values()] if isinstance(value, dict) else value
    if isinstance(inner, list | tuple | set | frozenset):
        return any(map(_has_float, inner))
    return isinstance(value, float | complex)
