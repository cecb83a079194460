"""The warden's side of the zygote: what a candidate finds when it is born, the order to bear it, and how it ended."""

import fcntl
import os
import select
import socket
from dataclasses import dataclass
from typing import Any

from . import candidate
from .candidate import ANSWERS, GIVEN, MAIN, SOURCE, STDERR, STDOUT
from .desk import ANSWER_BYTES, Files, Made, end_of
from .jail import FILE_BYTES
from .memory import content, empty, fill
from .process import Process
from .zygote import Ends


class ZygoteGone(Exception):
    """Nobody bears candidates any more."""


@dataclass(frozen=True)
class Ended:
    """How a candidate ended."""

    signal: int
    exit_code: int
    cpu: float
    """User and system seconds."""


class Candidate(Process):
    """A process whose number is asked for only when it is needed: waiting for its birth would cost a switch.

    Args:
        pids: where the zygote tells its number, before anything else of it.
    """

    def __init__(self, pids: int) -> None:
        super().__init__(0)
        self._pids = pids

    def cpu(self) -> float:
        """CPU seconds so far; 0 before it is born and once it is gone."""
        self.learn()
        return super().cpu() if self.pid else 0.0

    def kill(self) -> None:
        """End it, where it has not ended by itself."""
        while not self.pid:
            select.select([self._pids], [], [])
            self.learn()
        super().kill()

    def learn(self) -> None:
        """Ask for its number, if it is not known and has been told."""
        if self.pid:
            return
        try:
            told = os.read(self._pids, 100)
        except BlockingIOError:
            return
        if not told:
            raise ZygoteGone
        self.pid = int(told)


class Nursery:
    """Args:
    ends: of a zygote.
    """

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._handoff = socket.socket(fileno=ends.handoff)
        files = ends.files
        self.files = Files(files[ANSWERS], files[STDOUT], files[STDERR], os.memfd_create("made"))
        """What testers read."""
        self.results = ends.results
        """Readable when the candidate has ended."""

    def close(self) -> None:
        """Let go of the zygote; what testers read stays open."""
        self._handoff.close()
        ends = self._ends
        for descriptor in (ends.commands, ends.pids, ends.results, ends.files[GIVEN], ends.files[SOURCE]):
            os.close(descriptor)

    def start(
        self, mode: str, source: bytes, given: bytes, handed: int | None, memory_bytes: int, cpu_seconds: float
    ) -> Candidate:
        """Have a candidate born; see `candidate.run`.

        Args:
            mode: how it is run.
            source: its text.
            given: its calls, or its stdin.
            handed: descriptor of its tester where it is interactive; closed here.
            memory_bytes: address space.
            cpu_seconds: after which the kernel ends it, a while later.

        Raises:
            ZygoteGone: there is nobody to do it.
        """
        files = self._ends.files
        for file in files.values():
            # the one before may have set O_APPEND, which would hold for this one, too
            fcntl.fcntl(file, fcntl.F_SETFL, 0)
        for number in (ANSWERS, STDOUT, STDERR):
            empty(files[number])
        fill(files[SOURCE], source)
        fill(files[GIVEN], given)
        if mode == MAIN:
            os.lseek(files[GIVEN], 0, os.SEEK_SET)
        if handed is not None:
            socket.send_fds(self._handoff, [b"."], [handed])
            os.close(handed)
        try:
            os.write(self._ends.commands, candidate.command(mode, memory_bytes, cpu_seconds))
        except OSError:
            raise ZygoteGone from None
        return Candidate(self._ends.pids)

    def end(self, process: Candidate, *, running: bool) -> Ended:
        """See how the candidate ended; kill it where it is still running."""
        process.learn()
        if running:
            process.kill()
        told = os.read(self.results, 100)
        if not told:
            raise ZygoteGone
        status, cpu = told.split()
        died = os.WIFSIGNALED(int(status))
        return Ended(
            signal=os.WTERMSIG(int(status)) if died else 0,
            exit_code=0 if died else os.WEXITSTATUS(int(status)),
            cpu=float(cpu),
        )

    def made(self, status: dict[str, Any]) -> Made:
        """What the candidate has left, which the next one would overwrite."""
        return Made(status, content(self.files.answers, ANSWER_BYTES), end_of(self.files.stderr))

    def overflown(self) -> bool:
        """Whether the candidate filled one of its outputs."""
        written = (os.fstat(self._ends.files[number]).st_size for number in (ANSWERS, STDOUT, STDERR))
        return max(written) >= FILE_BYTES["candidate"]
