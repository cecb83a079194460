"""A tester's turn: run the candidates that it is to judge as it asks, until it is done with them. Runs in the warden.

Decides nothing but when a process has used up its time.
"""

import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from . import root
from .candidate import BATCH, INTERACTIVE, MAIN
from .channel import receive, send
from .desk import Made
from .folder import empty, looks
from .memory import content, fill
from .nursery import Nursery
from .process import Budget, Process, wait

TESTER_SECONDS = 4.0
"""CPU time that the tests may take in a turn, beside what a candidate may."""
_AHEAD_BYTES, _AHEAD_SECONDS = 1 << 20, 0.05
"""Candidates are run ahead of their tester until they have answered so much, or it has waited for so long."""


class SupervisorGone(Exception):
    """Nobody is left to run programs for."""


class TesterEnded(Exception):
    """The tester has ended, or must be: `timeout`, `stalled` or `gone`."""


@dataclass(frozen=True)
class Limits:
    """What one run may use."""

    cpu_seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Entrant:
    """A candidate that is to be judged."""

    number: int
    source: bytes
    limits: Limits


class Place:
    """What all turns of a warden share.

    Args:
        channel: to the supervisor.
        nursery: bears the candidates.
        folder: where programs may write.
    """

    def __init__(self, channel: socket.socket, nursery: Nursery, folder: str | None) -> None:
        self.channel, self.nursery, self._folder = channel, nursery, folder
        # a folder of memory has a size for each of its entries: cheaper to ask for, and as sure
        self._empty = looks(folder) if folder == root.BOX else None

    def ahead(self, entrants: Iterable[Entrant], calls: bytes) -> list[Made]:
        """Run candidates on the same calls, as many as their tester can be kept waiting for."""
        made: list[Made] = []
        room, until = _AHEAD_BYTES, time.monotonic() + _AHEAD_SECONDS
        for entrant in entrants:
            made.append(self.nursery.made(self.run(BATCH, entrant.source, entrant.limits, calls)))
            room -= len(made[-1].answers)
            if room < 0 or time.monotonic() > until:
                break
        return made

    def run(
        self,
        mode: str,
        source: bytes,
        limits: Limits,
        given: bytes,
        handed: int | None = None,
        until: Callable[[Budget], tuple[str, bool]] | None = None,
    ) -> dict[str, Any]:
        """Run a program, and tell how it ended.

        Args:
            mode: how it is run.
            source: its text.
            limits: of the run.
            given: its calls, or its stdin.
            handed: descriptor of its tester where it is interactive; closed here.
            until: waits, where that is not for the program's end: how it was ended, and whether it still runs.

        Raises:
            SupervisorGone: there is no one to go on for.
        """
        process = self.nursery.start(mode, source, given, handed, limits.memory_bytes, limits.cpu_seconds)
        how, alive = "", True
        try:
            how, alive = (until or self._until_ended)(Budget(process, limits.cpu_seconds))
        finally:
            ended = self.nursery.end(process, running=alive)
            self._tidy()
        return {
            "cpu": ended.cpu,
            "signal": 0 if alive else ended.signal,
            "exit": ended.exit_code,
            "how": how,
            "output_limit": (how or ended.signal or ended.exit_code or mode == MAIN) and self.nursery.overflown(),
        }

    def check_supervisor(self, ready: Sequence[int]) -> None:
        """Raise SupervisorGone if its channel is among descriptors that are ready."""
        if self.channel.fileno() in ready:
            raise SupervisorGone

    def leave(self) -> None:
        """Remove the folder; the box of level A goes with its namespace.

        Raises:
            OSError: what a program has left running, as it can at level none, still writes there.
        """
        if self._folder is not None and self._folder != root.BOX:
            empty(self._folder)
            os.rmdir(self._folder)

    def _until_ended(self, program: Budget) -> tuple[str, bool]:
        event = wait([self.nursery.results, self.channel.fileno()], [program], program.cpu)
        self.check_supervisor(event.ready)
        return "timeout" if event.over else "stalled" if event.stalled else "", not event.ready

    def _tidy(self) -> None:
        """Empty the folder, where a program has put something there."""
        try:
            if self._folder is not None and looks(self._folder) != self._empty:
                empty(self._folder)
        except FileNotFoundError:
            # at level none a program can also remove it
            os.mkdir(str(self._folder), 0o700)


class Turn:
    """Args:
    place: the warden's.
    line: to the tester.
    tester: its process.
    entrants: whom it judges.
    """

    def __init__(self, place: Place, line: socket.socket, tester: Process, entrants: Sequence[Entrant]) -> None:
        self._place, self._line = place, line
        self._entrants = {entrant.number: entrant for entrant in entrants}
        self._patience = max(entrant.limits.cpu_seconds for entrant in entrants)
        self._allowed = TESTER_SECONDS + self._patience
        self._tester = Budget(tester, tester.cpu() + self._allowed)
        self.ran = False
        """A candidate was run: what its tester does from then on may be because of it."""
        self.calls: bytes | None = None
        """On which the tester had the last one run first, if it did."""
        self.told = 0
        """Bytes of the tester's verdicts."""

    def cpu(self) -> float:
        """CPU seconds that the tester has used in this turn."""
        return self._allowed - self._tester.left()

    def take(self, made: Sequence[Made]) -> bool:
        """Until the tester is done; whether it wants the next candidates to be run on the same calls beforehand.

        Args:
            made: a run of each candidate, or none.

        Raises:
            TesterEnded: the tester cannot go on.
            SupervisorGone: there is no one to go on for.
        """
        if made:
            self.ran = True
            fill(self._place.nursery.files.made, b"".join(run.answers + run.stderr for run in made))
        runs = [[run.status, len(run.answers), len(run.stderr)] for run in made]
        self._send({"candidates": list(self._entrants), "made": runs})
        while True:
            self._await(None)
            order, files = self._order()
            match order:
                case {"done": int() as told, "again": bool() as again} if not files:
                    self.told = told
                    return again
                case {
                    "run": "batch" | "interactive" | "main" as mode,
                    "candidate": int() as number,
                    "first": bool() as first,
                } if number in self._entrants and len(files) in (1, 2):
                    self._send(self._run(mode, self._entrants[number], first, *files))
                case _:
                    _refuse(files)

    def _run(self, mode: str, entrant: Entrant, first: bool, given: int, source: int | None = None) -> dict[str, Any]:
        self.ran = True
        text = entrant.source if source is None else _read(source)
        if mode == INTERACTIVE:
            return self._place.run(mode, text, entrant.limits, b"", given, self._until_stopped)
        calls = _read(given)
        if first:
            self.calls = calls
        return self._place.run(mode, text, entrant.limits, calls)

    def _until_stopped(self, program: Budget) -> tuple[str, bool]:
        """Watch program and tester while they talk, until the tester says stop."""
        how, alive = self._await(program)
        order, files = self._order()
        if "stop" not in order or files:
            _refuse(files)
        return how, alive

    def _await(self, program: Budget | None) -> tuple[str, bool]:
        """Until the tester has something to say; how the program was ended meanwhile, and whether it still runs."""
        how, alive = "", program is not None
        results = self._place.nursery.results
        while True:
            running = [program] if program is not None and alive else []
            descriptors = [self._line.fileno(), self._place.channel.fileno(), *([results] if alive else [])]
            event = wait(descriptors, [self._tester, *running], self._patience)
            self._place.check_supervisor(event.ready)
            if self._line.fileno() in event.ready:
                return how, alive and results not in event.ready
            if event.over is self._tester.process or (event.stalled and not running):
                raise TesterEnded("timeout" if event.over else "stalled")
            if event.over or event.stalled:
                how = "timeout" if event.over else "stalled"
                running[0].process.kill()
            alive = False

    def _order(self) -> tuple[dict[str, Any], list[int]]:
        try:
            got = receive(self._line)
        except (ValueError, RecursionError):
            got = None
        if got is None or not isinstance(got[0], dict):
            _refuse([] if got is None else got[1])
        return got

    def _send(self, message: dict[str, Any]) -> None:
        try:
            send(self._line, message)
        except OSError:
            raise TesterEnded("gone") from None


def _refuse(files: list[int]) -> NoReturn:
    """The tester has ended, or its tests have taken over its process."""
    for file in files:
        os.close(file)
    raise TesterEnded("gone")


def _read(file: int) -> bytes:
    """What a file holds, which is closed."""
    try:
        return content(file)
    except OSError:
        raise TesterEnded("gone") from None
    finally:
        os.close(file)
