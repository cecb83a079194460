"""Run many programs at once and give their executions in input order. Identical programs run once.

Each worker is a thread here and a zygote process; it stays with one problem while there are programs of it, so that
one tester serves them, and takes from another worker's problem when there is nothing else. A result is remembered only
in a cache that the caller names. Does not assemble programs and does not score them.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType

from ..errors import BackendError
from ..schema import Isolation
from .backlog import Backlog, Task
from .cache import Cache, execution_key
from .crew import Crew
from .execution import BadTests, Execution, Facts, TesterDied, judge, judge_death, without_verdict
from .isolation import Requested, isolation_level
from .profile import STANDARD, Profile
from .program import Program
from .worker import Report, ZygoteDied

CPU_SECONDS = 3.0
"""Limit where neither the program nor the pool has one."""
GRACE = 1.25
"""A program is ended at this many times its limit: one that ends between the two is run again, alone."""
MEMORY_MB = 1024
WINDOW = 2048
"""Programs read ahead of the one whose result is waited for."""
REMEMBERED = 4096
"""Programs of one run, the latest, whose results serve identical ones; a cache remembers them all."""
ATTEMPTS = 2
"""Tries of a program that has no verdict."""
OnDone = Callable[[int, Execution], None]


class Pool:
    """Workers that run programs; a context manager.

    Args:
        workers: programs run at once; by default the cores this process may use.
        isolation: `auto` (level A, or refuse), `A`, `B` or `none`.
        timeout: CPU seconds for a program that has no limit of its own; 3 by default.
        cache: a file of results, read and added to; it survives `kill -9`, and other processes may use it too.
        profile: the interpreter that runs the programs; by default this one, with numpy.

    Raises:
        BackendError: programs cannot be run on this machine at that level.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        isolation: Requested = "auto",
        timeout: float | None = None,
        cache: Path | None = None,
        profile: Profile | None = None,
    ) -> None:
        self.level: Isolation = isolation_level(isolation)
        self.executed = 0
        """Programs really run so far: neither repeated nor read from the cache."""
        self._timeout = timeout or CPU_SECONDS
        self._profile = profile
        self._cache = Cache(cache) if cache is not None else None
        self._floor = _Floor()
        self._lock = threading.Lock()
        cores = sorted(os.sched_getaffinity(0))
        count = workers or len(cores)
        self._backlog = Backlog(count)
        # one that stays on its core takes less CPU time; fewer than there are cores go where there is room
        self._crews = [
            Crew(self.level, cores[number % len(cores)] if count >= len(cores) else None) for number in range(count)
        ]
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"align-run-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process and wait for it."""
        self._backlog.close()
        for crew in self._crews:
            crew.stop()
        for thread in self._threads:
            thread.join()
        if self._cache:
            self._cache.close()

    def run(self, programs: Iterable[Program], on_done: OnDone | None = None) -> Iterator[Execution]:
        """One Execution a program, in order, while later ones still run.

        Args:
            programs: read lazily, at most `WINDOW` ahead.
            on_done: called with the program's position as soon as it is done: in any order and from any thread, but
                one call at a time.

        Raises:
            BackendError: the workers do not start, or the pool was closed.
        """
        seen: dict[str, Future[Execution]] = {}
        waiting: deque[Future[Execution]] = deque()
        turn = threading.Lock()
        try:
            for index, program in enumerate(programs):
                task = self._task(program)
                future = seen.get(task.key) or seen.setdefault(task.key, self._submitted(task))
                if len(seen) > REMEMBERED:
                    del seen[next(iter(seen))]
                if on_done:
                    future.add_done_callback(partial(_report, index, on_done, turn))
                waiting.append(future)
                while waiting and (len(waiting) >= WINDOW or waiting[0].done()):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _task(self, program: Program) -> Task:
        limits = program.limits
        cpu_seconds = (limits and limits.cpu_seconds) or self._timeout
        memory_mb = (limits and limits.memory_mb) or MEMORY_MB
        profile = self._profile or STANDARD[program.profile]
        key = execution_key(program, (cpu_seconds, memory_mb), self.level, profile.key)
        return Task(program, cpu_seconds, memory_mb << 20, profile, key)

    def _submitted(self, task: Task) -> "Future[Execution]":
        if task.program.unsupported:
            task.future.set_result(without_verdict("unsupported", task.program.unsupported, self.level))
        elif self._cache and (known := self._cache.get(task.key)) is not None:
            task.future.set_result(known)
        else:
            self._backlog.add(task)
        return task.future

    def _work(self, number: int) -> None:
        """One worker's thread: take tasks until the pool is closed."""
        crew = self._crews[number]
        try:
            while tasks := self._backlog.take(number):
                tasks = [task for task in tasks if task.future.set_running_or_notify_cancel()]
                self._settle(crew, tasks)
        finally:
            crew.close()

    def _settle(self, crew: Crew, tasks: list[Task]) -> None:
        """Give every task its execution, or the error that kept it from one."""
        try:
            with self._floor.shared():
                again = self._judged(crew, tasks, GRACE)
            for task in again:
                with self._floor.alone():
                    self._judged(crew, [task], 1.0)
        except BaseException as error:
            for task in tasks:
                if not task.future.done():
                    task.future.set_exception(error)

    def _judged(self, crew: Crew, tasks: list[Task], grace: float) -> list[Task]:
        """Finish tasks of one problem; those that are to be run again alone are returned.

        What ends without a verdict is tried again, on a fresh zygote or tester.
        """
        again, left, ahead = [], deque(tasks), True
        while left:
            try:
                for report in crew.reports(list(left), grace, ahead=ahead):
                    task = left[0]
                    if isinstance(report, TesterDied):
                        task.failures += report.alone
                        ahead = False
                        if task.failures < ATTEMPTS:
                            break
                    left.popleft()
                    if grace > 1 and isinstance(report, Facts) and _is_near(report, task):
                        again.append(task)
                    else:
                        self._finish(task, _execution(report, self.level))
            except ZygoteDied as died:
                if self._backlog.closed:
                    raise BackendError("the pool is closed") from None
                task = left[0]
                # of several that were run ahead, it is not known which one it was
                task.failures += not ahead
                ahead = False
                if task.failures >= ATTEMPTS:
                    self._finish(left.popleft(), without_verdict("infra_error", str(died), self.level))
        return again

    def _finish(self, task: Task, found: Execution) -> None:
        with self._lock:
            self.executed += 1
        if self._cache and found.outcome != "infra_error":
            self._cache.put(task.key, found)
        task.future.set_result(found)


def _execution(report: Report, level: Isolation) -> Execution:
    match report:
        case Facts():
            return judge(report, level)
        case TesterDied():
            return judge_death(report, level)
        case BadTests(tests_error=reason):
            return without_verdict("test_error", reason, level)


def _is_near(facts: Facts, task: Task) -> bool:
    """Whether the load of the machine may have made the difference: it took a little more than its limit, or waited."""
    return facts.how == "stalled" or (not facts.how and facts.cpu > task.cpu_seconds)


class _Floor:
    """Programs share the machine, except for one that is run alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._wanting_it_alone = 0
        self._taken = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Run beside others, once nobody wants the machine alone."""
        with self._changed:
            self._changed.wait_for(lambda: not self._wanting_it_alone)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Run when everything else has ended, and before anything else begins."""
        with self._changed:
            self._wanting_it_alone += 1
            self._changed.wait_for(lambda: not self._running and not self._taken)
            self._taken = True
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._wanting_it_alone -= 1
                self._changed.notify_all()


def _report(index: int, on_done: OnDone, turn: threading.Lock, future: "Future[Execution]") -> None:
    # what failed is raised where its result is asked for
    if not future.cancelled() and future.exception() is None:
        with turn:
            on_done(index, future.result())
