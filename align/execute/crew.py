"""The zygotes of one worker thread: one a profile, started when needed, replaced when they die or grow old."""

from collections.abc import Iterator, Sequence

from ..schema import Isolation
from .backlog import Task
from .execution import TesterDied
from .worker import Report, Run, Worker

RECYCLE = 20_000
"""Programs after which a zygote is replaced by a fresh one."""


class Crew:
    """Args:
    level: isolation of every program.
    core: that its zygotes stay on, or None.
    """

    def __init__(self, level: Isolation, core: int | None) -> None:
        self._level, self._core = level, core
        self._workers: dict[str, Worker] = {}

    def reports(self, tasks: Sequence[Task], grace: float, *, ahead: bool) -> Iterator[Report]:
        """Have tasks of one problem judged, each ended at `grace` times its limit; see `Worker.judge`.

        Raises:
            ZygoteDied: it is replaced at the next call.
            BackendError: none can be started.
        """
        first = tasks[0]
        worker = self._worker(first)
        runs = [Run(task.program, task.cpu_seconds * grace) for task in tasks]
        ended = False
        try:
            for report in worker.judge(first.program.checks, runs, first.memory_bytes, ahead=ahead):
                ended = isinstance(report, TesterDied)
                yield report
            ended = True
        finally:
            # what is left unread would be taken for the reports of other programs
            if not ended:
                self._discard(first.profile.key)

    def _worker(self, task: Task) -> Worker:
        key = task.profile.key
        if key in self._workers and self._workers[key].judged >= RECYCLE:
            self._discard(key)
        if key not in self._workers:
            self._workers[key] = Worker(self._level, task.profile, self._core)
        return self._workers[key]

    def _discard(self, key: str) -> None:
        self._workers.pop(key).close()

    def stop(self) -> None:
        """Make all end, from another thread."""
        for worker in list(self._workers.values()):
            worker.stop()

    def close(self) -> None:
        """End all and leave nothing behind."""
        for key in list(self._workers):
            self._discard(key)
