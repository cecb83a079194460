"""Run many programs at once and give their executions in input order. Identical programs run once.

The work is pulled by workers, each a thread here and a zygote process. A result is remembered only in a cache that
the caller names. Does not assemble programs and does not score them.
"""

import os
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import BackendError
from ..io import Journal
from ..schema import Isolation, content_id
from .execution import Execution, judge
from .isolation import Requested, isolation_level, warn_once
from .program import Program
from .worker import Worker, ZygoteDied, numpy_folder

VERSION = 1
"""Bumped by hand when the same program may get another outcome."""
CPU_SECONDS = 3.0
"""Limit where neither the program nor the pool has one."""
MEMORY_MB = 1024
WINDOW = 2048
"""Programs read ahead of the one whose result is waited for."""
ATTEMPTS = 2

OnDone = Callable[[int, Execution], None]


class Pool:
    """Workers that run programs; a context manager.

    Args:
        workers: programs run at once; by default the cores this process may use.
        isolation: `auto` (the strongest level there is), `A`, `B` or `none`.
        timeout: CPU seconds for a program that has no limit of its own; 3 by default.
        cache: a file of results, read first and added to; it survives `kill -9`.

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
    ) -> None:
        self.level: Isolation = isolation_level(isolation)
        warn_once(isolation)
        self.executed = 0
        """Programs really run so far: neither repeated nor read from the cache."""
        self._timeout = timeout or CPU_SECONDS
        count = workers or len(os.sched_getaffinity(0))
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="align-run")
        self._floor = _Floor()
        self._lock = threading.Lock()
        self._closed = False
        self._workers: list[Worker] = []
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._journal = Journal(cache) if cache is not None else None
        entries = self._journal.entries if self._journal else []
        self._known: dict[str, dict[str, Any]] = {entry["key"]: entry["execution"] for entry in entries}

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process and wait for it."""
        with self._lock:
            self._closed = True
            workers = list(self._workers)
        for worker in workers:
            worker.stop()
        self._threads.shutdown(cancel_futures=True)
        for worker in workers:
            worker.close()
        if self._journal:
            self._journal.close()

    def run(self, programs: Iterable[Program], on_done: OnDone | None = None) -> Iterator[Execution]:
        """One Execution a program, in order, while later ones still run.

        Args:
            programs: read lazily, at most `WINDOW` ahead.
            on_done: called with the program's position as soon as it is done: in any order and from any thread, but
                one call at a time.

        Raises:
            BackendError: a program could not be run twice, through no fault of its own.
        """
        seen: dict[str, Future[Execution]] = {}
        waiting: deque[Future[Execution]] = deque()
        turn = threading.Lock()
        try:
            for index, program in enumerate(programs):
                key = self._key(program)
                future = seen.get(key) or seen.setdefault(key, self._threads.submit(self._execution, program, key))
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

    def _key(self, program: Program) -> str:
        """Everything that the outcome depends on."""
        machine = [*sys.version_info[:3], bool(numpy_folder())]
        return content_id([VERSION, program.key, *self._limits(program), self.level, machine])

    def _limits(self, program: Program) -> tuple[float, int]:
        limits = program.limits
        return (limits and limits.cpu_seconds) or self._timeout, (limits and limits.memory_mb) or MEMORY_MB

    def _execution(self, program: Program, key: str) -> Execution:
        if program.unsupported:
            return Execution("unsupported", program.unsupported, 0, 0, None, self.level, None, 0.0)
        with self._lock:
            known = self._known.get(key)
        if known is not None:
            return Execution(**known)
        with self._floor.shared():
            found = self._judged(program)
        if found.outcome == "timeout":
            with self._floor.alone():
                found = self._judged(program)
        with self._lock:
            self.executed += 1
            if self._journal:
                self._known[key] = asdict(found)
                self._journal.append({"key": key, "execution": self._known[key]})
        return found

    def _judged(self, program: Program) -> Execution:
        cpu_seconds, memory_mb = self._limits(program)
        job = {**program.job(), "cpu_seconds": cpu_seconds, "memory_mb": memory_mb}
        return judge(self._facts(job), cpu_seconds, self.level)

    def _facts(self, job: dict[str, Any]) -> dict[str, Any]:
        """Run a job on a zygote; a second one where the first dies."""
        died = ""
        for _ in range(ATTEMPTS):
            worker = self._worker()
            try:
                facts = worker.run(job)
            except ZygoteDied as error:
                died = str(error)
                self._discard(worker)
                continue
            self._idle.put(worker)
            return facts
        raise BackendError(f"a worker died {ATTEMPTS} times while running one program ({died}): it has no verdict")

    def _worker(self) -> Worker:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            pass
        with self._lock:
            if self._closed:
                raise BackendError("the pool is closed")
            worker = Worker()
            self._workers.append(worker)
        return worker

    def _discard(self, worker: Worker) -> None:
        with self._lock:
            if self._closed:
                raise BackendError("the pool is closed")
            self._workers.remove(worker)
        worker.close()


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
