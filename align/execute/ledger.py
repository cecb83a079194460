"""One caller's programs on their way through the node's service: what was asked, what has a result, what comes next.

Identical programs are sent once, what is in the caller's cache not at all; results are given in order. Opens no
connection: `service` does.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from ..errors import BackendError
from ..schema import Isolation, Limits
from .cache import Cache, execution_key
from .execution import Execution
from .pool import CPU_SECONDS, MEMORY_MB
from .profile import STANDARD
from .program import Program
from .wire import execution_of, program_line

WINDOW, SENT = 2048, 256
"""Programs read ahead of the one whose result is waited for, and those of them that the service has at once."""

OnDone = Callable[[int, Execution], None]


class Ledger:
    """The state of one run.

    Args:
        programs: read lazily, at most `WINDOW` ahead.
        timeout: CPU seconds for a program that has no limit of its own.
        level: the isolation that the service gives.
        cache: looked into before a program is sent, and added to.
        on_done: called with the position of each result as it comes.
    """

    def __init__(
        self,
        programs: Iterable[Program],
        timeout: float | None,
        level: Isolation,
        cache: Cache | None,
        on_done: OnDone | None,
    ) -> None:
        self.open: dict[int, Program] = {}
        """Those that the service has, by number."""
        self._programs, self._exhausted = iter(programs), False
        self._timeout, self._level, self._cache, self._on_done = timeout, level, cache, on_done
        self._again: list[int] = []
        self._numbers: dict[str, int] = {}
        """Key → number of the first program that has it."""
        self._keys: dict[int, str] = {}
        self._found: dict[int, Execution] = {}
        """By number, kept for programs that come again."""
        self._positions: dict[int, list[int]] = {}
        """Number → positions that wait for its result."""
        self._order: dict[int, int] = {}
        """Position → number, from the first that was not given yet."""
        self._read = self._given = 0
        self._last_checks: str | None = None
        self._restarts = 0

    @property
    def finished(self) -> bool:
        """Whether every program was given its result."""
        return self._exhausted and self._given == self._read

    def request(self) -> bytes | None:
        """The next message to send; empty where the next program needs none, None where there is nothing to send."""
        if self._again:
            return self._line(self._again.pop(0))
        if self._exhausted or len(self.open) >= SENT or self._read - self._given >= WINDOW:
            return None
        program = next(self._programs, None)
        if program is None:
            self._exhausted = True
            return None
        return self._added(self._limited(program))

    def _limited(self, program: Program) -> Program:
        """The timeout goes with the program: the service has none of its own."""
        limits = program.limits
        if self._timeout is None or (limits and limits.cpu_seconds):
            return program
        return replace(program, limits=Limits(cpu_seconds=self._timeout, memory_mb=limits and limits.memory_mb))

    def _added(self, program: Program) -> bytes:
        position = self._read
        self._read += 1
        key = self._key(program)
        number = self._order[position] = self._numbers.setdefault(key, position)
        known = self._found.get(number) or (self._cache.get(key) if self._cache and number == position else None)
        if known is not None:
            self._found[number] = known
            self._report(position, known)
            return b""
        self._positions.setdefault(number, []).append(position)
        if number != position:
            return b""
        self.open[number], self._keys[number] = program, key
        return self._line(number)

    def _key(self, program: Program) -> str:
        limits = program.limits
        seconds = (limits and limits.cpu_seconds) or CPU_SECONDS
        return execution_key(
            program, (seconds, (limits and limits.memory_mb) or MEMORY_MB), self._level, STANDARD[program.profile].key
        )

    def _line(self, number: int) -> bytes:
        program = self.open[number]
        checks, self._last_checks = self._last_checks, program.checks.key
        return program_line(number, program, with_checks=checks != program.checks.key)

    def take(self, message: dict[str, Any]) -> int:
        """Enter an answer; returns how many results it brought.

        Raises:
            BackendError: it is none.
        """
        number = message.get("done")
        if not isinstance(number, int) or number not in self.open:
            raise BackendError(str(message.get("reason") or message.get("error") or "the service gave no answer"))
        del self.open[number]
        found = self._found[number] = execution_of(message)
        key = self._keys.pop(number)
        if self._cache:
            self._cache.put(key, found)
        self._restarts = 0
        for position in self._positions.pop(number):
            self._report(position, found)
        return 1

    def _report(self, position: int, found: Execution) -> None:
        if self._on_done:
            self._on_done(position, found)

    def ready(self) -> Iterator[Execution]:
        """The results that are next in order."""
        while self._given < self._read and (found := self._found.get(self._order[self._given])) is not None:
            del self._order[self._given]
            self._given += 1
            yield found

    def begin_again(self) -> None:
        """The service has died: everything without a result is sent to the next one.

        Raises:
            BackendError: it has died before, and brought no result since.
        """
        self._restarts += 1
        if self._restarts > 1:
            raise BackendError("the node's service died twice without a result between: run again, or without it")
        self._again, self._last_checks = list(self.open), None
