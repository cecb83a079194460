"""One zygote as the supervisor sees it: start it, have it judge programs, end it. Knows nothing of outcomes."""

import compileall
import json
import os
import resource
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from ..errors import BackendError
from ..schema import Isolation
from .checks import Checks
from .execution import BadTests, Facts, TesterDied
from .profile import Profile
from .program import Program
from .sandbox.candidate import source_file
from .sandbox.channel import MESSAGE_BYTES, pair, receive, send
from .sandbox.memory import file_of

_COMMAND = ("-s", "-P", "-S", "-B", "-W", "ignore", "-m", "sandbox.warden")
_END_SECONDS = 5.0
ENVIRONMENT = {
    "LD_BIND_NOW": "1",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONPATH": str(Path(__file__).parent),
}
"""All that programs see of the environment, beside HOME and TMPDIR: no secrets, nothing that changes their results."""

Report = Facts | BadTests | TesterDied


class ZygoteDied(Exception):
    """The zygote is gone; says nothing about the programs it was to run."""


@dataclass(frozen=True)
class Run:
    """One program and what it may use."""

    program: Program
    cpu_seconds: float
    """Where it is ended; a little later than its own limit."""


class Worker:
    """A running zygote.

    Args:
        level: of isolation.
        profile: its interpreter.
        core: the only one that it uses, with all its processes; by default any.

    Raises:
        BackendError: it does not start.
    """

    def __init__(self, level: Isolation, profile: Profile, core: int | None = None) -> None:
        self.judged = 0
        """Programs so far."""
        self._serving: tuple[str, int] | None = None
        self._verdicts: socket.socket | None = None
        self._channel, theirs = pair()
        # in memory, so that what it says costs no disk
        self._stderr = os.memfd_create("stderr")
        self._work = _new_folder() if level == "none" else None
        _compile()
        config = {"level": level, "work": self._work, "core": core, **profile.config()}
        self._process = subprocess.Popen(
            [profile.interpreter.executable, *_COMMAND, str(theirs.fileno()), json.dumps(config)],
            stdin=subprocess.DEVNULL,
            stdout=self._stderr,
            stderr=self._stderr,
            pass_fds=[theirs.fileno()],
            cwd="/",
            # functions of libraries are looked up now, not in every candidate
            env={**ENVIRONMENT, "LD_BIND_NOW": "1"},
            start_new_session=True,  # Ctrl-C at the terminal is for us; the zygote ends when its channel does
        )
        theirs.close()
        if receive(self._channel) is None:
            words = self._last_words()
            self.close()
            raise BackendError(f"programs cannot be run: the worker process does not start: {words}")

    def judge(self, checks: Checks, runs: Sequence[Run], memory_bytes: int, *, ahead: bool = True) -> Iterator[Report]:
        """A report for each program, in order; fewer where the tester ended, which is then the last report.

        Args:
            checks: of all programs.
            runs: of each.
            memory_bytes: address space.
            ahead: several programs may be run before their tester looks at them: if it ends, it is not said at which.

        Raises:
            BackendError: this process may not give programs so much memory.
            ZygoteDied: with the end of what it said last.
        """
        _check_room(memory_bytes)
        self._order(checks, runs, memory_bytes, ahead=ahead)
        left = len(runs)
        while left:
            got = receive(self._channel)
            if got is None:
                raise ZygoteDied(self._last_words())
            for report in got[0]["reports"]:
                left -= 1
                self.judged += 1
                if report["tester"] is not None:
                    self._serving = None
                    yield TesterDied(**report["tester"])
                    return
                yield self._facts(report["candidate"])

    def _order(self, checks: Checks, runs: Sequence[Run], memory_bytes: int, *, ahead: bool) -> None:
        serving = (checks.key, memory_bytes)
        order = {
            "tests": self._serving != serving,
            "candidates": list(range(len(runs))),
            "cpu": [run.cpu_seconds for run in runs],
            "memory": memory_bytes,
            "ahead": ahead,
        }
        theirs = None
        # the zygote passes these on unread: what it has read is in the memory of every candidate
        files = [] if self._serving == serving else [file_of(json.dumps(checks.job()).encode("ascii"))]
        if files:
            self._end_verdicts()
            self._verdicts, theirs = pair()
            files.append(theirs.detach())
        files += [_source(checks, run.program) for run in runs]
        try:
            send(self._channel, order, files)
        except OSError:
            raise ZygoteDied(self._last_words()) from None
        finally:
            for file in files:
                os.close(file)
        self._serving = serving

    def _facts(self, number: int) -> Facts | BadTests:
        assert self._verdicts is not None
        try:
            told = self._verdicts.recv(MESSAGE_BYTES, socket.MSG_DONTWAIT)
        except OSError:
            told = b""
        for kind in (Facts, BadTests):
            try:
                found = kind.model_validate_json(told)
            except ValidationError:
                continue
            if found.candidate == number:
                return found
        # only tests that reach into their own process can bring this about
        return BadTests(candidate=number, tests_error="the tests gave no verdict")

    def stop(self) -> None:
        """Make it end, with whatever it runs; a `judge` under way in another thread raises ZygoteDied."""
        try:
            self._channel.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it has gone already

    def close(self) -> None:
        """End it and leave nothing behind."""
        self.stop()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._channel.close()
        self._end_verdicts()
        os.close(self._stderr)
        if self._work is not None:
            shutil.rmtree(self._work, ignore_errors=True)

    def _end_verdicts(self) -> None:
        if self._verdicts is not None:
            self._verdicts.close()
            self._verdicts = None

    def _last_words(self) -> str:
        size = os.fstat(self._stderr).st_size
        lines = os.pread(self._stderr, 2000, max(0, size - 2000)).decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def _check_room(memory_bytes: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard != resource.RLIM_INFINITY and hard < memory_bytes:
        found, wanted = hard >> 20, memory_bytes >> 20
        raise BackendError(f"programs may use {wanted} MiB of memory, but `ulimit -v` here is {found} MiB: raise it")


def _new_folder() -> str:
    """Name of a folder that nobody else has."""
    return os.path.join(tempfile.gettempdir(), f"align-run-{secrets.token_hex(8)}")


@cache
def _compile() -> None:
    """Have the sandbox's modules compiled, where that can be written: a worker shut in its place cannot do it.

    Compiling them in every worker would cost its start, and leave memory behind that every fork pays for.
    """
    compileall.compile_dir(Path(__file__).parent / "sandbox", quiet=2, maxlevels=0)


def _source(checks: Checks, program: Program) -> int:
    """A file of what the candidate's process runs: never of what judges it."""
    before = "\n".join(text for text in (checks.imports, program.prelude) if text)
    return file_of(source_file(before, program.source, program.setup))
