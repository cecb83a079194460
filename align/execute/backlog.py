"""Programs that wait for a worker, by problem: a worker keeps to one problem, and helps with another's when idle."""

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from .execution import Execution
from .profile import Profile
from .program import Program

CHUNK = 8
"""Programs of one problem handed out at a time."""

Problem = tuple[str, int, str]


@dataclass(eq=False)
class Task:
    """A program with its limits, and the promise of its execution."""

    program: Program
    cpu_seconds: float
    memory_bytes: int
    profile: Profile
    key: str
    """Everything that the outcome depends on."""
    future: "Future[Execution]" = field(default_factory=Future)
    failures: int = 0
    """How often it had no verdict, through no fault of its own as far as is known."""

    @property
    def problem(self) -> Problem:
        """What it shares with the tasks that one tester can serve."""
        return self.program.checks.key, self.memory_bytes, self.profile.key


class Backlog:
    """Args:
    workers: how many take from it.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._waiting: dict[Problem, deque[Task]] = {}
        self._taken: dict[int, Problem] = {}
        self._changed = threading.Condition()
        self.closed = False

    def add(self, task: Task) -> None:
        """Let a worker take it."""
        with self._changed:
            self._waiting.setdefault(task.problem, deque()).append(task)
            self._changed.notify()

    def take(self, worker: int) -> list[Task]:
        """Tasks of one problem for a worker, waiting for some; empty once the backlog is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self.closed)
            if self.closed:
                return []
            problem = self._chosen(worker)
            self._taken[worker] = problem
            queue = self._waiting[problem]
            count = CHUNK
            if len(self._waiting) < self._workers:
                # the last problems are shared out, so that no worker is left with a long one
                count = min(CHUNK, -(-len(queue) // self._workers))
            tasks = [queue.popleft() for _ in range(min(count, len(queue)))]
            if not queue:
                del self._waiting[problem]
            return tasks

    def _chosen(self, worker: int) -> Problem:
        own = self._taken.get(worker)
        if own in self._waiting:
            return own
        others = set(self._taken.values())
        for problem in self._waiting:
            if problem not in others:
                return problem
        return max(self._waiting, key=lambda problem: len(self._waiting[problem]))

    def close(self) -> None:
        """Hand out nothing more; what waits is given up."""
        with self._changed:
            self.closed = True
            left = [task for queue in self._waiting.values() for task in queue]
            self._waiting.clear()
            self._changed.notify_all()
        for task in left:
            task.future.cancel()
