"""Score a file of samples on its problems' tests: verdicts, pass@k, outcomes. Draws no samples, prints nothing."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..execute import Execution, Pool, Program, program_for
from ..execute.isolation import Requested
from ..io import rows
from ..progress import progress
from ..rank.unit_tests import index_problems
from ..schema import NO_VERDICT, Isolation, Limits, Outcome, Problem, Record
from .passk import Interval, mean_interval, pass_at_k

LEAST_SECONDS, TIMES_REFERENCE = 1.0, 10.0
"""Without a timeout, a program gets ten times its problem's reference, and a second at least."""


@dataclass(frozen=True)
class Sample:
    """One row of a sample file, matched to its problem."""

    task_id: str | int
    """As the row has it."""
    index: int
    problem: Problem
    form: str
    """`completion` or `solution`."""
    text: str

    def program(self) -> Program:
        """What is run."""
        return program_for(self.problem, **{self.form: self.text})


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
        partial: problems without samples are left out instead of refused.

    Raises:
        DataError: a problem has no samples or no tests, or k does not fit the number of samples.
        BackendError: programs cannot be run on this machine.
    """
    by_problem = _grouped(samples)
    one_distinct = check_samples(problems, by_problem, k, partial=partial)
    started = time.perf_counter()
    with Pool(workers, isolation=isolation, timeout=timeout, cache=cache) as pool:
        asked = [problem for problem in problems if problem.id in by_problem]
        limits, failing = _limits(asked, pool, timeout)
        programs = (replace(sample.program(), limits=limits[sample.problem.id]) for sample in samples)
        with progress("score", len(samples)) as bar:
            executions = list(pool.run(programs, lambda _index, _execution: bar.advance()))
    judged = _by_problem(samples, executions)
    unscored = {problem for problem, found in judged.items() if any(one.outcome in NO_VERDICT for one in found)}
    return Score(
        verdicts=[_scored(sample, found) for sample, found in zip(samples, executions, strict=True)],
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


def read_samples(path: str | Path, problems: Sequence[Problem]) -> list[Sample]:
    """Samples `{task_id, completion}` or `{task_id, solution}`, with or without `sample_index`, matched to problems.

    `task_id` is the problem's own (`meta["task_id"]`) or our `id`.

    Raises:
        DataError: with `file:line`: an unknown task, a row without a text, an index given twice; or an empty file.
    """
    index = index_problems(problems)
    ordinals: Counter[str] = Counter()
    taken: set[tuple[str, int]] = set()
    samples = []
    for where, row in rows(path):
        problem = _problem(row, index, where)
        form = _form(row, where)
        position = _position(row, ordinals[problem.id], where)
        if (problem.id, position) in taken:
            raise DataError(f"{where}: task {row['task_id']!r} has a sample {position} already: mend sample_index")
        taken.add((problem.id, position))
        ordinals[problem.id] += 1
        samples.append(Sample(row["task_id"], position, problem, form, row[form]))
    if not samples:
        raise DataError(f"{path}: no samples")
    return samples


def check_samples(
    problems: Sequence[Problem], by_problem: Mapping[str, Sequence[Sample]], k: Sequence[int], *, partial: bool
) -> int:
    """Refuse what would give a wrong number; returns how many problems have one distinct sample.

    Raises:
        DataError: a problem without tests, or without samples (unless `partial`), k > n, or k > 1 on greedy samples.
    """
    for problem in problems:
        if problem.id in by_problem and not problem.tests:
            raise DataError(
                f"problem {own_id(problem)!r} has no tests: add them (a tests stage does), or leave its samples out"
            )
    lacking = [own_id(problem) for problem in problems if problem.id not in by_problem]
    if lacking and not partial:
        named = ", ".join(lacking[:3]) + (", …" if len(lacking) > 3 else "")
        raise DataError(f"{len(lacking)} of {len(problems)} problems have no samples ({named}): add them, or --partial")
    fewest = min(by_problem.values(), key=len)
    if max(k) > len(fewest):
        task = fewest[0].task_id
        raise DataError(f"k = {max(k)} needs {max(k)} samples a problem, task {task!r} has {len(fewest)}: lower --k")
    one_distinct = sum(len({sample.text for sample in found}) == 1 for found in by_problem.values())
    if max(k) > 1 and one_distinct == len(by_problem):
        raise DataError(
            f"k = {max(k)}, but every problem's samples are identical, as greedy decoding makes them:"
            " sample at a temperature, or --k 1"
        )
    return one_distinct


def own_id(problem: Problem) -> str:
    """The user's own id of a problem, where it has one."""
    return str(problem.meta.get("task_id", problem.meta.get("id", problem.id)))


def _problem(row: Mapping[str, Any], index: Mapping[str, Problem], where: str) -> Problem:
    if "task_id" not in row:
        raise DataError(f"{where}: task_id: missing (columns: {', '.join(row)})")
    problem = index.get(str(row["task_id"]))
    if problem is None:
        raise DataError(f"{where}: task_id {row['task_id']!r} is none of the problems: mend it, or add its problem")
    return problem


def _form(row: Mapping[str, Any], where: str) -> str:
    given = [name for name in ("completion", "solution") if row.get(name) is not None]
    if len(given) != 1:
        raise DataError(f"{where}: expected one of completion and solution, found {' and '.join(given) or 'neither'}")
    if not isinstance(row[given[0]], str):
        raise DataError(f"{where}: {given[0]}: expected text, found {type(row[given[0]]).__name__}")
    return given[0]


def _position(row: Mapping[str, Any], ordinal: int, where: str) -> int:
    given = row.get("sample_index", ordinal)
    if type(given) is not int or given < 0:
        raise DataError(f"{where}: sample_index: expected a whole number from 0, found {given!r}")
    return given


def _grouped(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    groups: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.problem.id].append(sample)
    return dict(groups)


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
