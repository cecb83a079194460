"""Run samples on their problems' tests: verdicts, pass@k, outcomes. Reads no file, draws no samples, prints nothing."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..execute import Execution, Pool, Profile, program_for
from ..execute.isolation import Requested
from ..progress import progress
from ..schema import NO_VERDICT, Isolation, Limits, Outcome, Problem, Record
from .passk import Interval, mean_interval, pass_at_k
from .samples import Sample, check_samples, grouped, own_id

LEAST_SECONDS, TIMES_REFERENCE = 1.0, 10.0
"""Without a timeout, a program gets ten times its problem's reference, and a second at least."""


class Scored(Record):
    """The verdict on one sample."""

    task_id: str | int
    sample_index: int
    passed: bool
    outcome: Outcome
    reason: str | None
    tests_passed: int
    tests_total: int
    isolation: Isolation


@dataclass(frozen=True)
class Score:
    """What a file of samples came to."""

    verdicts: list[Scored]
    """In the samples' order."""
    executions: list[Execution]
    """What each verdict is of."""
    pass_at: dict[int, Interval]
    """k → pass@k with its interval, as fractions; empty where no problem could be judged."""
    outcomes: dict[str, int]
    problems: int
    """Problems that pass@k is averaged over."""
    unscored: list[str]
    """Problems left out of it: their tests could not be run, which is no fault of the samples."""
    samples_per_problem: int
    """The smallest number there is."""
    one_distinct: int
    """Problems whose samples are all the same text."""
    failed_references: list[str]
    """Problems whose reference did not pass, so that their limit is the general one."""
    isolation: Isolation
    seconds: float
    """Wall time, measured."""
    executed: int
    """Programs really run: repeated ones and those in the cache are not."""


def score_samples(
    problems: Sequence[Problem],
    samples: Sequence[Sample],
    *,
    k: Sequence[int] = (1,),
    workers: int | None = None,
    timeout: float | None = None,
    isolation: Requested = "auto",
    cache: Path | None = None,
    profile: Profile | None = None,
    partial: bool = False,
) -> Score:
    """Run every sample on its problem's tests.

    Args:
        problems: what is scored.
        samples: from `read_samples`.
        k: the k of pass@k.
        workers: programs run at once; the number of cores by default.
        timeout: CPU seconds a program. By default the problem's own limit, else ten times the CPU time of its
            reference, which is run first, and at least 1; 3 where there is neither.
        isolation: as in `Pool`.
        cache: a file of results, reused and added to.
        profile: the interpreter that runs the programs; by default this one, with numpy.
        partial: problems without samples are left out instead of refused.

    Raises:
        DataError: a problem has no samples or no tests, or k does not fit the number of samples.
        BackendError: programs cannot be run on this machine.
    """
    by_problem = grouped(samples)
    one_distinct = check_samples(problems, by_problem, k, partial=partial)
    started = time.perf_counter()
    with Pool(workers, isolation=isolation, timeout=timeout, cache=cache, profile=profile) as pool:
        asked = [problem for problem in problems if problem.id in by_problem]
        limits, failing = _limits(asked, pool, timeout)
        programs = (replace(sample.program(), limits=limits[sample.problem.id]) for sample in samples)
        with progress("score", len(samples)) as bar:
            executions = list(pool.run(programs, lambda _index, _execution: bar.advance()))
    judged = _by_problem(samples, executions)
    unscored = {problem for problem, found in judged.items() if any(one.outcome in NO_VERDICT for one in found)}
    return Score(
        verdicts=[_scored(sample, found) for sample, found in zip(samples, executions, strict=True)],
        executions=executions,
        pass_at=_pass_at([found for problem, found in judged.items() if problem not in unscored], k),
        outcomes=dict(Counter(found.outcome for found in executions)),
        problems=len(judged) - len(unscored),
        unscored=[own_id(problem) for problem in asked if problem.id in unscored],
        samples_per_problem=min(map(len, by_problem.values())),
        one_distinct=one_distinct,
        failed_references=failing,
        isolation=pool.level,
        seconds=time.perf_counter() - started,
        executed=pool.executed,
    )


def _by_problem(samples: Iterable[Sample], executions: Iterable[Execution]) -> dict[str, list[Execution]]:
    groups: defaultdict[str, list[Execution]] = defaultdict(list)
    for sample, execution in zip(samples, executions, strict=True):
        groups[sample.problem.id].append(execution)
    return dict(groups)


def _limits(
    problems: Sequence[Problem], pool: Pool, timeout: float | None
) -> tuple[dict[str, Limits | None], list[str]]:
    """Each problem's limits, and the problems whose reference did not pass."""
    if timeout is not None:
        return {problem.id: _with_seconds(problem, timeout) for problem in problems}, []
    limits = {problem.id: problem.limits for problem in problems}
    failing = []
    unlimited = [one for one in problems if one.reference and not (one.limits and one.limits.cpu_seconds)]
    references = pool.run(program_for(problem, solution=problem.reference) for problem in unlimited)
    for problem, found in zip(unlimited, references, strict=True):
        if found.outcome == "passed":
            limits[problem.id] = _with_seconds(problem, max(LEAST_SECONDS, TIMES_REFERENCE * found.cpu_seconds))
        else:
            failing.append(own_id(problem))
    return limits, failing


def _with_seconds(problem: Problem, seconds: float) -> Limits:
    memory_mb = problem.limits.memory_mb if problem.limits else None
    return Limits(cpu_seconds=round(seconds, 3), memory_mb=memory_mb)


def _pass_at(judged: Sequence[Sequence[Execution]], ks: Sequence[int]) -> dict[int, Interval]:
    if not judged:
        return {}
    counts = [(len(found), sum(one.outcome == "passed" for one in found)) for found in judged]
    return {k: mean_interval([pass_at_k(n, c, k) for n, c in counts]) for k in ks}


def _scored(sample: Sample, found: Execution) -> Scored:
    return Scored(
        task_id=sample.task_id,
        sample_index=sample.index,
        passed=found.outcome == "passed",
        outcome=found.outcome,
        reason=found.reason,
        tests_passed=found.tests_passed,
        tests_total=found.tests_total,
        isolation=found.isolation,
    )
