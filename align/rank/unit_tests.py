"""Judge responses by running their problems' tests. Gives facts (Verdicts) and their raw scores; orders nothing."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from ..errors import ConfigError, DataError
from ..execute import Execution, Pool, Profile, Program, program_for
from ..execute.isolation import Requested
from ..execute.service import Client
from ..schema import NO_VERDICT, Isolation, Problem, Response, Verdict

PASSED = 3.0
"""Raw score of a response that passes every test."""
ScoreScale = Literal["unit", "paper"]
VARIABLE = "ALIGN_EXECUTE_SHARED"
"""Set to 1, it makes `shared` the default."""


class UnitTests:
    """The unit-test ranker. As a context manager it keeps its workers between calls; otherwise each call has its own.

    Args:
        workers: programs run at once; the number of cores by default.
        isolation: `auto` (level A, or refuse), `A`, `B` or `none`.
        timeout: CPU seconds a program, where its problem has no limit of its own.
        cache: a file of results that survives the call; nothing is reused without it.
        profile: the interpreter that runs the programs; by default this one, with numpy.
        shared: run on the workers that all processes of this user share; by default where ALIGN_EXECUTE_SHARED is 1.

    Raises:
        ConfigError: shared workers are asked for, and a number of them or an interpreter, which they have already.
    """

    def __init__(
        self,
        workers: int | None = None,
        isolation: Requested = "auto",
        timeout: float | None = None,
        cache: Path | None = None,
        *,
        profile: Profile | None = None,
        shared: bool | None = None,
    ) -> None:
        self._workers, self._profile = workers, profile
        self._isolation, self._timeout, self._cache = isolation, timeout, cache
        self._shared = os.environ.get(VARIABLE) == "1" if shared is None else shared
        for name, value in (("workers", workers), ("profile", profile)):
            if self._shared and value is not None:
                asked = VARIABLE if shared is None else "shared"
                raise ConfigError(f"{asked}: workers that are shared take no {name}: leave out {name}, or {asked}")
        self._kept: Pool | Client | None = None
        self._keeper = 0
        self._turn = threading.Lock()

    def __enter__(self) -> "UnitTests":
        with self._turn:
            # the workers of a process that was forked are its parent's
            if self._kept is None or self._keeper != os.getpid():
                self._kept, self._keeper = self._made(), os.getpid()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers that are kept, if there are any."""
        with self._turn:
            kept, self._kept = self._kept, None
            if kept is not None and self._keeper == os.getpid():
                kept.close()

    def __getstate__(self) -> dict[str, Any]:
        # workers stay where they are: a copy in another process starts its own
        return {name: value for name, value in vars(self).items() if name not in ("_kept", "_turn")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _kept=None, _turn=threading.Lock())

    def judge(
        self,
        problems: Iterable[Problem],
        responses: Sequence[Response],
        on_done: Callable[[Response, Execution], None] | None = None,
    ) -> Generator[Verdict, None, None]:
        """One Verdict a response, in order, while later ones still run.

        Args:
            problems: the problems, in any order.
            responses: what is judged; a response without code does not compile.
            on_done: called with each response that ran, before its Verdict is given: for what was measured.

        Raises:
            DataError: a response answers a problem that is not there, or that has no tests.
            BackendError: programs cannot be run on this machine.
        """
        index = index_problems(problems)
        pairs = [(response, problem_of(response, index)) for response in responses]
        with self._opened() as pool:
            programs = [_program(response, problem) for response, problem in pairs]
            runs = pool.run(program for program in programs if program is not None)
            for (response, problem), program in zip(pairs, programs, strict=True):
                if program is None:
                    yield no_program(response, problem, pool.level)
                    continue
                ran = next(runs)
                if on_done is not None:
                    on_done(response, ran)
                yield verdict(response, problem, ran)

    @contextmanager
    def _opened(self) -> Iterator[Pool | Client]:
        if self._kept is not None and self._keeper == os.getpid():
            yield self._kept
        else:
            with self._made() as pool:
                yield pool

    def _made(self) -> Pool | Client:
        if self._shared:
            return Client(isolation=self._isolation, timeout=self._timeout, cache=self._cache)
        return Pool(
            self._workers, isolation=self._isolation, timeout=self._timeout, cache=self._cache, profile=self._profile
        )

    async def ajudge(self, problems: Iterable[Problem], responses: Sequence[Response]) -> AsyncIterator[Verdict]:
        """`judge` for asyncio: the event loop is free while programs run."""
        verdicts = self.judge(problems, responses)
        try:
            while (found := await asyncio.to_thread(next, verdicts, None)) is not None:
                yield found
        finally:
            # a caller that leaves early leaves nothing running
            await asyncio.to_thread(verdicts.close)


def index_problems(problems: Iterable[Problem]) -> dict[str, Problem]:
    """Problems by id, and by the user's own `task_id` or `id` where they have one."""
    index: dict[str, Problem] = {}
    for problem in problems:
        for own in ("task_id", "id"):
            if own in problem.meta:
                index.setdefault(str(problem.meta[own]), problem)
        index[problem.id] = problem
    return index


def problem_of(response: Response, index: Mapping[str, Problem]) -> Problem:
    """The problem that a response answers.

    Raises:
        DataError: it is not there, or has no tests.
    """
    problem = index.get(response.problem_id)
    if problem is None:
        raise DataError(
            f"response {response.id} answers problem {response.problem_id!r}, which is not in the problems: "
            "add the problem, or remove the response"
        )
    if not problem.tests:
        name = response.problem_id
        raise DataError(
            f"problem {name!r} has no tests to judge response {response.id} by: "
            "a tests stage writes some, or leaves it out"
        )
    return problem


def verdict(response: Response, problem: Problem, ran: Execution) -> Verdict:
    """The Verdict of a response whose program ran."""
    return Verdict(
        response_id=response.id,
        problem_id=problem.id,
        passed=ran.outcome == "passed",
        outcome=ran.outcome,
        reason=ran.reason,
        tests_passed=ran.tests_passed,
        tests_total=ran.tests_total,
        failed_tests=ran.failed_tests,
        isolation=ran.isolation,
        stderr_tail=ran.stderr_tail,
    )


def no_program(response: Response, problem: Problem, isolation: Isolation) -> Verdict:
    """The Verdict of a response that holds no program; of a request that got no answer it says nothing."""
    answered = response.finish != "error"
    return Verdict(
        response_id=response.id,
        problem_id=problem.id,
        passed=False,
        outcome="compile_error" if answered else "infra_error",
        reason="no_program" if answered else "no_answer",
        tests_passed=0,
        tests_total=len(problem.tests),
        isolation=isolation,
    )


def raw_score(found: Verdict) -> float | None:
    """PanGu-Coder2's four levels, graded: 0 does not compile; 1 fails to load, or raises or times out with nothing
    passed; 2 + share of asserts passed, below 3; 3 passes all. None where the fault is not the program's."""
    if found.outcome in NO_VERDICT:
        return None
    if found.outcome == "passed":
        return PASSED
    if found.outcome == "compile_error":
        return 0.0
    if found.outcome in ("runtime_error", "timeout") and found.tests_passed == 0:
        return 1.0
    # what fails outside of an assert, in a bare call of the tests, holds in all of them and does not pass
    return 2.0 + max(min(found.tests_passed, found.tests_total - 1), 0) / max(found.tests_total, 1)


def score(found: Verdict, scale: ScoreScale = "unit") -> float | None:
    """`unit`: raw score / 3; `paper`: the level 0, 1, 2 or 3."""
    raw = raw_score(found)
    if raw is None:
        return None
    return raw / PASSED if scale == "unit" else float(int(raw))


def _program(response: Response, problem: Problem) -> Program | None:
    return None if response.code is None else program_for(problem, solution=response.code)
