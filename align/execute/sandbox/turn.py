"""One candidate's turn: run it as its tester asks, until the tester is done with it. Runs in the warden.

Decides nothing but when a process has used up its time.
"""

import os
import socket
import stat
from dataclasses import dataclass
from typing import Any

from . import root
from .candidate import BATCH, INTERACTIVE, MAIN
from .channel import receive, send
from .memory import content
from .nursery import Nursery
from .process import Budget, Process, wait

TESTER_SECONDS = 4.0
"""CPU time that the tests may take for one candidate, beside what the candidate may."""


class SupervisorGone(Exception):
    """Nobody is left to run programs for."""


class TesterEnded(Exception):
    """The tester has ended, or must be: `timeout`, `stalled` or `gone`."""


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
        self._empty = os.stat(folder).st_size if folder == root.BOX else None

    def tidy(self) -> None:
        """Empty the folder, where a program has put something there."""
        if self._folder is not None and os.stat(self._folder).st_size != self._empty:
            _empty(self._folder)

    def leave(self) -> None:
        """Remove the folder; the box of level A goes with its namespace.

        Raises:
            OSError: what a program has left running, as it can at level none, still writes there.
        """
        if self._folder is not None and self._folder != root.BOX:
            _empty(self._folder)
            os.rmdir(self._folder)


@dataclass(frozen=True)
class Limits:
    """What one run may use."""

    cpu_seconds: float
    memory_bytes: int


class Turn:
    """Args:
    place: the warden's.
    line: to the tester.
    tester: its process.
    source: text of the program.
    limits: of each run.
    """

    def __init__(self, place: Place, line: socket.socket, tester: Process, source: bytes, limits: Limits) -> None:
        self._place, self._line, self._source, self._limits = place, line, source, limits
        self._tester = Budget(tester, tester.cpu() + TESTER_SECONDS + limits.cpu_seconds)
        self.ran = False
        """The program was run: what its tester does from then on may be because of it."""
        self.calls: bytes | None = None
        """Of the last run, if that was a batch of the program's."""
        self.told = 0
        """Bytes of the tester's verdict."""

    def take(self, number: int, calls: bytes | None) -> bool:
        """Until the tester is done; whether it wants the next program to be run on the same calls beforehand.

        Args:
            number: the program's.
            calls: what it is run on before the tester asks for anything.

        Raises:
            TesterEnded: the tester cannot go on.
            SupervisorGone: there is no one to go on for.
        """
        self._send({"candidate": number, "run": None if calls is None else self._batch(calls)})
        while True:
            self._await(None)
            match self._order():
                case {"done": int() as told, "again": bool() as again}, []:
                    self.told = told
                    return again
                case {"run": "batch" | "interactive" | "main" as mode}, [given, *source] if len(source) < 2:
                    self._send(self._run(mode, given, *source))
                case _:
                    # only tests that reach into their own process can bring this about
                    raise TesterEnded("gone")

    def _run(self, mode: str, given: int, source: int | None = None) -> dict[str, Any]:
        if mode == INTERACTIVE:
            return self._ended(mode, b"", given, source)
        calls = content(given)
        os.close(given)
        return self._batch(calls) if mode == BATCH and source is None else self._ended(mode, calls, None, source)

    def _batch(self, calls: bytes) -> dict[str, Any]:
        status = self._ended(BATCH, calls, None, None)
        self.calls = calls
        return status

    def _ended(self, mode: str, given: bytes, handed: int | None, source: int | None) -> dict[str, Any]:
        """Run the program, or another source, and tell how it ended."""
        text = self._source
        if source is not None:
            text = content(source)
            os.close(source)
        nursery, limits = self._place.nursery, self._limits
        process = nursery.start(mode, text, given, handed, limits.memory_bytes, limits.cpu_seconds)
        self.ran = True
        how, alive = "", True
        try:
            how, alive = self._until_stopped(process) if mode == INTERACTIVE else self._until_ended(process)
        finally:
            ended = nursery.end(process, running=alive)
            self._place.tidy()
        return {
            "cpu": ended.cpu,
            "signal": 0 if alive else ended.signal,
            "exit": ended.exit_code,
            "how": how,
            "output_limit": (how or ended.signal or ended.exit_code or mode == MAIN) and nursery.overflown(),
        }

    def _until_ended(self, process: Process) -> tuple[str, bool]:
        budget = Budget(process, self._limits.cpu_seconds)
        event = wait([self._place.nursery.results, self._place.channel.fileno()], [budget], self._limits.cpu_seconds)
        self._check_supervisor(event.ready)
        return "timeout" if event.over else "stalled" if event.stalled else "", not event.ready

    def _until_stopped(self, process: Process) -> tuple[str, bool]:
        """Watch program and tester while they talk, until the tester says stop."""
        how, alive = self._await(Budget(process, self._limits.cpu_seconds))
        if "stop" not in self._order()[0]:
            raise TesterEnded("gone")
        return how, alive

    def _await(self, program: Budget | None) -> tuple[str, bool]:
        """Until the tester has something to say; how the program was ended meanwhile, and whether it still runs."""
        how, alive = "", program is not None
        results = self._place.nursery.results
        while True:
            running = [program] if program is not None and alive else []
            descriptors = [self._line.fileno(), self._place.channel.fileno(), *([results] if alive else [])]
            event = wait(descriptors, [self._tester, *running], self._limits.cpu_seconds)
            self._check_supervisor(event.ready)
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
        except ValueError:
            got = None  # no message of ours: the tests have taken over their process
        if got is None:
            raise TesterEnded("gone")
        return got

    def _send(self, message: dict[str, Any]) -> None:
        try:
            send(self._line, message)
        except OSError:
            raise TesterEnded("gone") from None

    def _check_supervisor(self, ready: tuple[int, ...]) -> None:
        if self._place.channel.fileno() in ready:
            raise SupervisorGone


def _empty(folder: str) -> None:
    """Remove what is in a folder; links are removed, never followed."""
    for entry in list(os.scandir(folder)):
        if entry.is_dir(follow_symlinks=False):
            # a program may have locked its own folders
            os.chmod(entry.path, stat.S_IRWXU)
            _empty(entry.path)
            os.rmdir(entry.path)
        else:
            os.unlink(entry.path)
