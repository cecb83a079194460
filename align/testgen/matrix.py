"""The outcome of every test case on every program of a problem: one letter a pair, each program loaded once.

A case is a single assert about the problem's entry point. It may use the prompt's own helpers and the problem's
imports and set-up, but nothing else of the program. Ranks nothing: see `consensus`.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ..errors import BackendError, DataError
from ..execute import Execution, Pool, Profile, Program
from ..execute.checks import Checks
from ..execute.definitions import compiles
from ..execute.isolation import Requested
from ..execute.sandbox.matrix import DIGEST, NOT_RUN, NOTHING, budget_of
from ..schema import Limits, Problem

CASE_SECONDS = 0.5
"""CPU seconds of one call, where nothing else is said."""
MOST_CASES = 1000
"""Cases judged in one run of a program; what they showed travels in one message."""


@dataclass(frozen=True)
class OutcomeMatrix:
    """What each case showed on each program of one problem."""

    problem_id: str
    cases: tuple[str, ...]
    """One assert each, all distinct."""
    case_counts: tuple[int, ...]
    """How often each was given: its frequency among the generations."""
    programs: tuple[str, ...]
    """Distinct sources."""
    program_counts: tuple[int, ...]
    outcomes: tuple[str, ...]
    """A string a program, a letter a case: `1` it holds, `A` its own assertion fails, `E` an exception, `T` over its
    time, `0` not run: the program does not load, the case cannot be judged, or the program used up its time before."""
    returned: tuple[str, ...] = ()
    """A string a program, eight characters a case: a digest of the value of the case's first call, or `--------`.
    Empty where that is not known."""

    @cached_property
    def index(self) -> dict[str, int]:
        """Row of each program, by its source."""
        return {source: row for row, source in enumerate(self.programs)}


@dataclass
class _Plan:
    """One problem on its way."""

    problem: Problem
    cases: Counter[str]
    usable: list[str]
    programs: Counter[str]
    parts: list[Checks]
    found: list[Execution] = field(default_factory=list)

    @property
    def wanted(self) -> int:
        return len(self.programs) * len(self.parts)

    def todo(self) -> Iterator[Program]:
        for checks in self.parts:
            yield from (_program(self.problem, source, checks) for source in self.programs)


def run_matrix(
    items: Iterable[tuple[Problem, Sequence[str], Sequence[str]]],
    *,
    workers: int | None = None,
    isolation: Requested = "auto",
    timeout: float | None = None,
    cache: Path | None = None,
    profile: Profile | None = None,
) -> Iterator[OutcomeMatrix]:
    """A matrix for each item, in order, while later ones still run.

    Args:
        items: a problem with an entry point, whole programs, and cases; read lazily. Repeated programs and cases run
            once and are counted.
        workers, isolation, cache, profile: as of `Pool`.
        timeout: CPU seconds of one call; 0.5 by default.

    Equal calls of a problem's cases are made once a program, in one process. After 10 calls that take too long a
    program is asked no more.

    Raises:
        DataError: a problem has no entry point, or is not Python.
        BackendError: programs cannot be run on this machine at that level, or a run was lost twice.
    """
    seconds = timeout or CASE_SECONDS
    with Pool(workers, isolation=isolation, cache=cache, profile=profile) as pool:
        plans: deque[_Plan] = deque()

        def programs() -> Iterator[Program]:
            for problem, sources, cases in items:
                plans.append(_plan(problem, sources, cases, seconds))
                yield from plans[-1].todo()

        for execution in pool.run(programs()):
            while not plans[0].wanted:
                yield _matrix(plans.popleft())
            plans[0].found.append(_sound(execution))
            if len(plans[0].found) == plans[0].wanted:
                yield _matrix(_settled(plans.popleft(), pool, seconds))
        yield from map(_matrix, plans)


def _plan(problem: Problem, sources: Sequence[str], cases: Sequence[str], seconds: float) -> _Plan:
    if problem.language != "python":
        raise DataError(f"problem {problem.id}: {problem.language} is not run: give Python")
    if not problem.entry_point:
        raise DataError(f"problem {problem.id}: cases need its entry_point: name the function that they test")
    counted = Counter(cases)
    usable = [case for case in counted if compiles(case)]
    return _Plan(problem, counted, usable, Counter(sources), _parts(problem, usable, seconds))


def _parts(problem: Problem, cases: Sequence[str], seconds: float) -> list[Checks]:
    prompt = problem.prompt if isinstance(problem.prompt, str) else None
    helpers = next((text for text in (prompt, f"{prompt}\n    pass\n") if prompt and text and compiles(text)), None)
    return [
        Checks(
            kind="cases",
            tests=tuple(cases[start : start + MOST_CASES]),
            prelude=helpers,
            imports="\n".join(problem.test_imports),
            setup=problem.test_setup or "",
            entry_point=problem.entry_point,
            exports={str(problem.entry_point): "function"},
            case_seconds=seconds,
        )
        for start in range(0, len(cases), MOST_CASES)
    ]


def _program(problem: Problem, source: str, checks: Checks) -> Program:
    assert checks.case_seconds is not None
    prompt = problem.prompt if isinstance(problem.prompt, str) else ""
    begins = bool(prompt) and source.startswith(prompt)
    memory = problem.limits.memory_mb if problem.limits else None
    limits = Limits(cpu_seconds=2 * budget_of(checks.case_seconds), memory_mb=memory)
    return Program(source, None if begins else checks.prelude, checks, limits, None)


def _sound(execution: Execution) -> Execution:
    if execution.outcome == "infra_error":
        raise BackendError(f"a program was lost twice while it ran ({execution.reason}): run it again")
    return execution


def _settled(plan: _Plan, pool: Pool, seconds: float) -> _Plan:
    """A plan without the cases that broke the tests' own process, if any did."""
    if not any(execution.outcome == "test_error" for execution in plan.found):
        return plan
    usable = _sane(plan.problem, plan.usable, pool, seconds)
    settled = _Plan(plan.problem, plan.cases, usable, plan.programs, _parts(plan.problem, usable, seconds))
    settled.found = [_sound(execution) for execution in pool.run(settled.todo())]
    return settled


def _sane(problem: Problem, cases: Sequence[str], pool: Pool, seconds: float) -> list[str]:
    """Cases that can be judged, found by halving."""
    if not cases:
        return []
    probes = (_program(problem, "", checks) for checks in _parts(problem, cases, seconds))
    if all(_sound(execution).outcome != "test_error" for execution in pool.run(probes)):
        return list(cases)
    if len(cases) == 1:
        return []
    half = len(cases) // 2
    return [*_sane(problem, cases[:half], pool, seconds), *_sane(problem, cases[half:], pool, seconds)]


def _matrix(plan: _Plan) -> OutcomeMatrix:
    rows, returned = [""] * len(plan.programs), [""] * len(plan.programs)
    for number, checks in enumerate(plan.parts):
        for row in range(len(rows)):
            found = plan.found[number * len(rows) + row]
            rows[row] += found.cases or _without(found) * len(checks.tests)
            returned[row] += found.returned or NOTHING * len(checks.tests)
    place = {case: number for number, case in enumerate(plan.usable)}
    outcomes = ("".join(row[place[case]] if case in place else NOT_RUN for case in plan.cases) for row in rows)
    digests = (
        "".join(row[DIGEST * place[case] :][:DIGEST] if case in place else NOTHING for case in plan.cases)
        for row in returned
    )
    return OutcomeMatrix(
        problem_id=plan.problem.id,
        cases=tuple(plan.cases),
        case_counts=tuple(plan.cases.values()),
        programs=tuple(plan.programs),
        program_counts=tuple(plan.programs.values()),
        outcomes=tuple(outcomes),
        returned=tuple(digests),
    )


def _without(execution: Execution) -> str:
    """The letter where a run told nothing of its cases: it does not load, or what it returned broke the tests."""
    return {"wrong_answer": "E", "timeout": "T"}.get(execution.outcome, NOT_RUN)
