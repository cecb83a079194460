"""Hide the real tests of problems, synthesise others, and measure these by the real ones and by the reference.

It says how far to trust synthesised tests of *such* problems, tests and candidates; not those of another set. The
programs that vote for cases may be others than those that the verdicts are measured on.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import DataError
from ..execute import Pool, program_for
from ..schema import NO_VERDICT, Problem
from .cases import FURTHER, WRITTEN, Case, Further
from .consensus import HOLDS
from .figures import Figures, Measured, figures
from .gates import Gate, tier_of
from .matrix import OutcomeMatrix
from .sieve import Candidate, Proposal, Runner, Sieved, sieve
from .synthesise import Draft, Solve, draft

Chosen = Callable[["Calibrated"], Sequence[Case]]


@dataclass(frozen=True)
class Calibrated:
    """One problem: its cases, what the sieve left of them, and the truth."""

    problem: Problem
    """With its real tests."""
    cases: Sequence[Case]
    """As they were proposed, with those that nobody wrote."""
    sieved: Sieved | None
    """None where there was nothing to run."""
    failed: tuple[str, ...]
    """Gates that the tests do not pass."""
    true: frozenset[str]
    """Cases that the reference passes."""
    has_reference: bool
    programs: Sequence[tuple[str, bool, int]]
    """Outcome of each case on a program, whether the program is right, and how often it was given."""

    @property
    def kept(self) -> Sequence[Case]:
        """What the sieve left."""
        return self.sieved.kept if self.sieved else ()

    def measured(self, cases: Sequence[Case]) -> Measured:
        """What some of the cases say, beside the truth."""
        place = {case.source: number for number, case in enumerate(self.cases)}
        columns = [place[case.source] for case in cases]
        counts: Counter[tuple[float, bool]] = Counter()
        for outcomes, right, number in self.programs:
            held = sum(outcomes[column] == HOLDS for column in columns)
            counts[held / len(columns), right] += number
        known = len(cases) if self.has_reference else 0
        return Measured(sum(case.source in self.true for case in cases), known, counts)


def hidden(problem: Problem) -> Problem:
    """The problem without its tests and its reference, with the name of its function."""
    kept = problem.model_dump(exclude={"id", "tests", "test_kind", "test_setup", "reference"})
    return Problem(**kept)


def calibrate(
    problems: Sequence[Problem],
    written: Sequence[Sequence[tuple[str, str]]],
    candidates: Solve,
    *,
    voters: int | None = None,
    per_problem: int = 10,
    extract: bool = True,
    gate: Gate | None = None,
    runner: Runner | None = None,
    own_votes: bool = False,
    further: Collection[Further] = (),
) -> list[Calibrated]:
    """Synthesise tests for problems whose tests are known, and run both on the same programs.

    Args:
        problems: with tests, and references where test precision is wanted.
        written: for each problem, (author, answer) pairs that hold tests.
        candidates: gives each problem its programs; it does not see the real tests.
        voters: only the first programs of a problem vote for cases, and the verdicts are measured on the others; by
            default all do both.
        per_problem, extract, gate, runner, own_votes, further: as of `synthesise`.

    Raises:
        DataError: a problem has no tests, or no entry point can be told.
        BackendError: programs cannot be run on this machine.
    """
    runner = runner or Runner()
    drafts = list(_drafts(problems, written, per_problem, extract))
    programs = candidates([one.problem for one in drafts])
    given = [each[:voters] for each in programs]
    judged = [each[voters or 0 :] for each in programs]
    runs = iter(
        sieve(
            [Proposal(one.problem, one.cases, each) for one, each in zip(drafts, given, strict=True) if one.cases],
            runner,
            own_votes=own_votes,
            further=further,
        )
    )
    sieved = [next(runs) if one.cases else None for one in drafts]
    right = _right(problems, judged, runner)
    every = [[*one.cases, *(found.further if found else ())] for one, found in zip(drafts, sieved, strict=True)]
    matrices = runner.matrices("truth", (_item(*each) for each in zip(drafts, every, judged, problems, strict=True)))
    return [
        _calibrated(problem, cases, found, matrix, truth, gate or Gate())
        for problem, cases, found, matrix, truth in zip(problems, every, sieved, matrices, right, strict=True)
    ]


def _drafts(
    problems: Sequence[Problem], written: Sequence[Sequence[tuple[str, str]]], per_problem: int, extract: bool
) -> Iterator[Draft]:
    for problem, texts in zip(problems, written, strict=True):
        name = problem.meta.get("task_id", problem.id)
        if not problem.tests:
            raise DataError(f"problem {name!r} has no tests to measure others by: leave it out")
        found = draft(hidden(problem), texts, per_problem=per_problem, extract=extract)
        if found.problem.entry_point is None:
            raise DataError(f"problem {name!r} names no function that tests could call: add its entry_point")
        yield found


def _item(
    one: Draft, cases: Sequence[Case], programs: Sequence[Candidate], problem: Problem
) -> tuple[Problem, list[str], list[str]]:
    reference = [problem.reference] if problem.reference is not None else []
    return one.problem, [*(each.code for each in programs), *reference], [case.source for case in cases]


def _right(
    problems: Sequence[Problem], programs: Sequence[Sequence[Candidate]], runner: Runner
) -> list[dict[str, bool]]:
    """For each problem: program → whether it passes the real tests; without those that could not be judged."""
    flat = [(place, code) for place, each in enumerate(programs) for code in dict.fromkeys(one.code for one in each)]
    found: list[dict[str, bool]] = [{} for _ in problems]
    cache = runner.cache and runner.cache.with_name(f"{runner.cache.stem}-real{runner.cache.suffix}")
    with Pool(runner.workers, isolation=runner.isolation, cache=cache, profile=runner.profile) as pool:
        runs = pool.run(program_for(problems[place], solution=code) for place, code in flat)
        for (place, code), execution in zip(flat, runs, strict=True):
            if execution.outcome not in NO_VERDICT:
                found[place][code] = execution.outcome == "passed"
    return found


def _calibrated(
    problem: Problem,
    cases: Sequence[Case],
    found: Sieved | None,
    matrix: OutcomeMatrix,
    right: Mapping[str, bool],
    gate: Gate,
) -> Calibrated:
    reference = matrix.outcomes[matrix.index[problem.reference]] if problem.reference is not None else ""
    true = frozenset(case for case, letter in zip(matrix.cases, reference, strict=False) if letter == HOLDS)
    rows = zip(matrix.programs, matrix.outcomes, matrix.program_counts, strict=True)
    programs = [
        # the reference was run beside them, and may be one of them
        (outcomes, right[code], count - (code == problem.reference))
        for code, outcomes, count in rows
        if code in right
    ]
    failed = tuple(gate.failed(found)) if found else tuple(Gate.model_fields)
    return Calibrated(problem, cases, found, failed, true, problem.reference is not None, programs)


def summary(found: Sequence[Calibrated], min_tests: int = 5, further: Collection[Further] = ()) -> dict[str, Any]:
    """The figures of a calibration as JSON data: of the proposed cases, of what the sieve left, by tier, verdict, gate.

    Args:
        found: the problems.
        min_tests: problems with fewer cases left are counted as rejected, and under `sieved` and what follows left out.
        further: what was made beside the written cases; where there is any, `with_further` has the figures without and
            with it, of the problems that have both.
    """
    made = [tier for tier in FURTHER if tier in further]
    some = [one for one in found if one.cases]
    kept = [one for one in found if len(one.kept) >= max(min_tests, 1)]

    def told(problems: Sequence[Calibrated], cases: Chosen = lambda one: one.kept) -> dict[str, Any]:
        return _figures(problems, cases).row()

    return {
        "problems": len(found),
        "rejected": len(found) - len(kept),
        "proposed": told(some, lambda one: [case for case in one.cases if not case.further]),
        "sieved": told(kept),
        "cases_by_tier": {
            "extracted": told(some, lambda one: [case for case in one.cases if case.is_example]),
            **{tier: told(kept, _of_tiers(tier)) for tier in ("synthesised", *made)},
        },
        "by_tier": {
            tier: told([one for one in kept if tier_of(one.kept) == tier])
            for tier in ("extracted", "synthesised", *made)
        },
        **({"with_further": _with_further(kept, made)} if made else {}),
        "by_verdict": {
            "verified": told([one for one in kept if not one.failed]),
            "weak": told([one for one in kept if one.failed]),
        },
        "by_gate": {
            name: {
                "passed": told([one for one in kept if name not in one.failed]),
                "failed": told([one for one in kept if name in one.failed]),
            }
            for name in Gate.model_fields
        },
    }


def _of_tiers(*tiers: str) -> Chosen:
    return lambda one: [case for case in one.kept if case.tier in tiers]


def _with_further(kept: Sequence[Calibrated], made: Sequence[Further]) -> dict[str, Any]:
    """The figures of problems that have written cases and others: of the written ones, and with each tier more."""
    both = [one for one in kept if any(case.further for case in one.kept) and tier_of(one.kept) not in made]
    found = {"written": _figures(both, _of_tiers(*WRITTEN)).row()}
    for number, tier in enumerate(made, start=1):
        found[f"and {tier}"] = _figures(both, _of_tiers(*WRITTEN, *made[:number])).row()
    return found


def _figures(problems: Sequence[Calibrated], cases: Chosen) -> Figures:
    chosen = [(one, cases(one)) for one in problems]
    return figures(one.measured(used) for one, used in chosen if used)
