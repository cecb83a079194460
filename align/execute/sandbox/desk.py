"""What a tester can ask its zygote for: runs of the present candidate, and what they left behind.

Everything that comes from a candidate is read here, as data.
"""

import os
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from . import codec
from .candidate import BATCH, INTERACTIVE, MAIN
from .channel import receive, send
from .memory import content, file_of
from .tally import name_of

STDERR_BYTES = 2048
"""End of a program's stderr that is reported."""
_OURS = {"CodecError": codec.CodecError}
"""What a candidate's process says where a value is beyond the codec's caps."""
ANSWER_BYTES = 17 << 20
"""Most that is read of what a program writes."""


@dataclass(frozen=True)
class Files:
    """Descriptors of what every program writes, emptied before each run; and of what runs left that were made ahead."""

    answers: int
    stdout: int
    stderr: int
    made: int


@dataclass
class Run:
    """What one run of a program left."""

    status: dict[str, Any]
    """How the process ended: `cpu`, `signal`, `how`, `output_limit`."""
    load: str
    """`loaded`, `compile_error`, `load_error`, or `died` where it never came so far."""
    error: BaseException | None
    """What loading raised."""
    answers: list[bytes]
    """Undecoded answers, one a call."""


class WardenGone(Exception):
    """Nobody runs programs any more."""


class Made(NamedTuple):
    """What a run left that was made before it was asked for."""

    status: dict[str, Any]
    answers: bytes
    stderr: bytes


class Desk:
    """The tester's side of the warden: runs of the present candidate.

    Candidates come one at a time, or several of which each has been run already, on the calls that were asked for first
    of the one before them.
    """

    def __init__(self, channel: socket.socket, files: Files) -> None:
        self._channel, self._files = channel, files
        self._waiting: deque[tuple[int, Made | None]] = deque()
        self._number = self._told = 0
        self._made: Made | None = None
        self._stderr: bytes | None = None
        """Of the last run, where it was made ahead."""
        self._first = self._made_on = b""
        """Calls on which candidates are to be run ahead from now on, and those on which the waiting ones were."""
        self._again = False

    def next(self) -> int | None:
        """Number of the next candidate; None when there are no more."""
        if not self._waiting:
            got = receive(self._channel)
            if got is None:
                return None
            self._waiting.extend(self._entered(**got[0]))
            self._made_on = self._first
        self._number, self._made = self._waiting.popleft()
        self._again = self._made is not None
        return self._number

    def _entered(self, candidates: list[int], made: list[list[Any]]) -> Iterator[tuple[int, Made | None]]:
        if not made:
            yield from ((number, None) for number in candidates)
            return
        found, end = content(self._files.made), 0
        for number, (status, answers, stderr) in zip(candidates, made, strict=True):
            start, middle, end = end, end + answers, end + answers + stderr
            yield number, Made(status, found[start:middle], found[middle:end])

    def done(self, told: int) -> None:
        """The present candidate has been judged; the next ones may be run beforehand as it was.

        Args:
            told: bytes of the verdict.
        """
        self._told += told
        if not self._waiting:
            send(self._channel, {"done": self._told, "again": self._again})
            self._told = 0

    def batch(self, calls: Sequence[bytes], source: int | None = None, *, first: bool = True) -> Run:
        """Run the candidate (or another source, whose descriptor is closed) on calls known beforehand.

        A judge that begins with a batch begins with the same calls for the next candidate, if this was its last run
        and it does not say otherwise (`first`).
        """
        first = first and source is None
        made, self._made = self._made, None
        given = b"\n".join(calls)
        if made is not None and source is None and given == self._made_on:
            self._again, self._stderr = first, made.stderr
            return _run(made.status, made.answers)
        status = self._asked(BATCH, file_of(given), source, first=first)
        if first:
            self._first, self._again = given, True
        return _run(status, content(self._files.answers, ANSWER_BYTES))

    def main(self, stdin: bytes) -> tuple[Run, bytes]:
        """Run the candidate as a whole program; what it printed."""
        run = _run(self._asked(MAIN, file_of(stdin)), content(self._files.answers, ANSWER_BYTES))
        return run, content(self._files.stdout, ANSWER_BYTES)

    def interactive(self, theirs: socket.socket, source: int | None = None) -> None:
        """Start the candidate (or another source) at the other end of a socket, which is closed; `stop` ends it."""
        self._ask(INTERACTIVE, theirs.detach(), source)

    def stop(self) -> dict[str, Any]:
        """End an interactive run; its status."""
        send(self._channel, {"stop": True})
        return self._status()

    def _asked(self, mode: str, given: int, source: int | None = None, *, first: bool = False) -> dict[str, Any]:
        self._ask(mode, given, source, first=first)
        return self._status()

    def _ask(self, mode: str, given: int, source: int | None, *, first: bool = False) -> None:
        self._again, self._stderr = False, None
        descriptors = [given] if source is None else [given, source]
        send(self._channel, {"run": mode, "candidate": self._number, "first": first}, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)

    def stderr(self) -> str:
        """The end of what the last run wrote to stderr."""
        tail = end_of(self._files.stderr) if self._stderr is None else self._stderr
        return tail.decode("utf-8", "replace")

    def _status(self) -> dict[str, Any]:
        got = receive(self._channel)
        if got is None:
            raise WardenGone
        return got[0]


def end_of(stderr: int) -> bytes:
    """What of a program's stderr is reported."""
    size = os.lseek(stderr, 0, os.SEEK_END)
    return os.pread(stderr, STDERR_BYTES, max(0, size - STDERR_BYTES)) if size else b""


def _run(status: dict[str, Any], answers: bytes) -> Run:
    # whatever follows the last newline was never finished
    lines = answers.split(b"\n")[:-1]
    load, error = loading(lines[0]) if lines else ("died", None)
    return Run(status, load, error, lines[1:])


def loading(line: bytes) -> tuple[str, BaseException | None]:
    """What a program's first line says about how it loaded."""
    try:
        match codec.loads(line):
            case ["loaded"]:
                return "loaded", None
            case [("compile_error" | "load_error") as state, error]:
                return state, codec.rebuild_error(error)
    except codec.CodecError:
        pass  # not a line of ours: nothing is known of it
    return "died", None


class Unusable(Exception):
    """The tests cannot be run at all; says why."""


def answered(line: bytes) -> Any:
    """The value in one line of answers.

    Raises:
        Exception: what the call raised, marked so that `remote.from_program` knows it.
        CodecError: the line holds no answer.
    """
    match codec.loads(line):
        case ["value", value]:
            return value
        case ["error", list() as described]:
            error = codec.rebuild_error(described, _OURS)
            error._from_program = True  # type: ignore[attr-defined]
            raise error
    raise codec.CodecError("no answer")


def unloaded(run: Run, tests: int, stderr: str) -> dict[str, Any]:
    """The facts about a program that did not load."""
    reason = "" if run.error is None else name_of(run.error)
    facts = {"states": "0" * tests, "ended": False, "raised": run.load == "load_error", "reason": reason, "said": ""}
    return {**facts, "load": run.load, "died": run.load == "died", **run.status, "stderr": stderr}
