"""Judge a candidate by asserts: HumanEval's `check(candidate)` and MBPP's lists. Runs the tests, never the program.

The calls that the tests make are learnt beforehand by running them once against a recorder. The candidate answers
all of them in one batch, and the tests are run again on its answers. Tests whose calls depend on answers are played
call by call instead.
"""

import random
import socket
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from types import CodeType
from typing import Any

from . import codec, remote
from .counting import TALLY, prepare
from .desk import Desk, Run, Unusable, answered, loading, unloaded
from .given import Reference, token_of
from .keeper import Token
from .tally import FAILED, HELD, RUNNING, Tally, Unanswered, text_of

TEST_SOURCE = "<tests>"
_MOST_CALLS = 100_000
_ANSWERS_KEPT = 1 << 14
"""Bytes of answers that are worth remembering."""
_UNCOMPILABLE = (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError)


class Recorder:
    """Learns which calls the tests make; answers none."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []

    def call(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Note a call."""
        self.calls.append(encoded(name, args, keywords))
        raise Unanswered


class Replay:
    """Answers the tests' calls from a batch that was run on the same calls."""

    def __init__(self, calls: list[bytes], answers: list[bytes]) -> None:
        self._calls, self._answers = calls, answers
        self._next = 0
        self.strayed = False
        """The tests made another call than was recorded."""
        self.died = False
        """A call has no answer."""

    def call(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """The answer to the next call."""
        index = self._next
        self._next += 1
        if index >= len(self._calls) or encoded(name, args, keywords) != self._calls[index]:
            self.strayed = True
        if self.strayed:
            raise Unanswered
        if index >= len(self._answers):
            self.died = True
            raise Unanswered
        return answered(self._answers[index])


class Live:
    """Answers the tests' calls by asking the candidate, one at a time, and records them."""

    def __init__(self, program: "remote.Remote") -> None:
        self._program = program
        self.calls: list[bytes] | None = []
        """What was asked; None where it cannot be asked again in a batch."""
        self.died = False

    def call(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Ask."""
        if self.died:
            raise Unanswered
        self._record(name, args, keywords)
        try:
            return self._program.call(name, args, keywords)
        except remote.Gone:
            self.died = True
            raise Unanswered from None

    def has(self, name: str) -> bool:
        """Whether the program has the function at all."""
        try:
            self._program.get(name)
        except remote.Gone:
            self.died = True
        except NameError:
            return False
        except Exception:
            return True  # it has something that cannot be shown
        return True

    def _record(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        if self.calls is None:
            return
        try:
            self.calls.append(encoded(name, args, keywords))
        except codec.CodecError:
            self.calls = None
        else:
            self.calls = self.calls if len(self.calls) < _MOST_CALLS else None


def rehearse() -> None:
    """Do what every tester does, before any is forked: see `warden`."""
    tests = """
METADATA = {"author": "nobody"}


def check(candidate):
    import math
    for values in ([1, 2], [], [-1.5]):
        assert candidate(values) == sorted(values), "This prints if it fails"
    assert candidate([2, 1], reverse=True)[0] == 2 and abs(math.fsum(candidate([0.5])) - 0.5) < 1e-6
"""
    job = {
        "kind": "check",
        "tests": [tests],
        "imports": "",
        "prelude": "from typing import List\n\n\ndef f(values: List[float]) -> List[float]:\n    pass\n",
        "setup": "",
        "entry_point": "f",
        "exports": ["f"],
        "bare": [],
        "given": [],
    }
    right = Asserts(job, _Nobody())
    right.judge()


class _Nobody(Desk):
    """Runs nothing, and answers as one that sorts would."""

    def __init__(self) -> None:
        pass

    def batch(self, calls: Sequence[bytes], source: int | None = None, *, first: bool = True) -> Run:
        answers = [codec.dumps(["value", sorted(codec.loads(call)[1][0])]) for call in calls]
        return Run({"how": "", "cpu": 0.0}, "loaded", None, answers)

    def stderr(self) -> str:
        return ""


class Asserts:
    """The asserts of one problem.

    Args:
        job: the problem's checks as plain data.
        desk: runs candidates.

    Raises:
        Unusable: the tests do not compile, or there are none.
    """

    def __init__(self, job: dict[str, Any], desk: Desk) -> None:
        self._desk = desk
        source = "\n".join(job["tests"])
        if not source.strip():
            raise Unusable("no tests")
        self._is_check = job["kind"] == "check"
        if self._is_check and not job["entry_point"]:
            raise Unusable("no entry point")
        self._names: list[str] = list(job["exports"])
        self._bare: list[str] = list(job["bare"])
        self._given = {name: Reference(name) for name in job["given"]}
        try:
            self._tests = prepare(source, TEST_SOURCE)
            self._before = [_compiled(text) for text in (job["imports"], job["prelude"]) if text]
            self._setup = _compiled("" if self._given else job["setup"] or "")
            self._check = _compiled(f"check({job['entry_point']})" if self._is_check else "")
        except _UNCOMPILABLE as error:
            raise Unusable(type(error).__name__) from None
        self._lines = self._tests.lines or ("the tests as a whole",)
        self._shown: dict[bytes, tuple[Tally, bool]] = {}
        self._calls = self._rehearse()
        # whether a program has a function that is not only called must be asked of each
        self._may_record = not self._bare

    def judge(self) -> dict[str, Any]:
        """The facts about the present candidate."""
        if self._calls is not None:
            found = self._replayed(self._calls)
            if found is not None:
                return found
            self._calls = None
        return self._played()

    def _rehearse(self) -> list[bytes] | None:
        """All calls of the tests, where they can be known before any is answered."""
        recorder = Recorder()
        try:
            tally = self._evaluated(recorder.call)
        except codec.CodecError:
            return None
        if tally.tests_error:
            raise Unusable(tally.tests_error)
        # tests that count as a whole may have taken the recorder's silence for an exception they expect
        known = tally.ended and not self._tests.whole and not self._bare and len(recorder.calls) <= _MOST_CALLS
        return recorder.calls if known else None

    def _replayed(self, calls: list[bytes]) -> dict[str, Any] | None:
        run = self._desk.batch(calls)
        if run.load != "loaded":
            return self._unloaded(run)
        # what the tests show depends on the answers alone: programs that answer alike are judged once
        answers = b"\n".join(run.answers)
        known = self._shown.get(answers)
        if known is None:
            replay = Replay(calls, run.answers)
            tally = self._evaluated(replay.call)
            if replay.strayed:
                return None
            known = tally, replay.died
            if len(answers) <= _ANSWERS_KEPT and len(self._shown) < _ANSWERS_KEPT // 64:
                self._shown[answers] = known
        return self._facts(known[0], run, known[1])

    def _played(self) -> dict[str, Any]:
        ours, theirs = socket.socketpair()
        with ours:
            self._desk.interactive(theirs)
            line = remote.Line(ours.fileno())
            try:
                load, error = loading(line.receive())
            except remote.Gone:
                load, error = "died", None
            if load != "loaded":
                return self._unloaded(Run(self._desk.stop(), load, error, []))
            live = Live(remote.Remote(line, refer=token_of))
            tally = self._evaluated(live.call, absent={name for name in self._bare if not live.has(name)})
            run = Run(self._desk.stop(), load, None, [])
        if self._may_record and tally.ended and not live.died:
            self._may_record = False
            self._calls, self._shown = live.calls, {}
        return self._facts(tally, run, live.died)

    def _evaluated(self, call: Callable[..., Any], absent: Collection[str] = ()) -> Tally:
        """Run the tests, with the program's functions answered by `call`, but for those that it lacks."""
        tally = Tally(self._lines)
        space: dict[str, Any] = {"__name__": "tests", TALLY: tally}
        seed()
        if self._tests.whole:
            tally.states[0] = RUNNING
        try:
            with _fault_of_tests():
                for code in self._before:
                    exec(code, space)
                space.update({name: stand_in(name, call) for name in self._names if name not in absent})
                space.update(self._given)
                exec(self._setup, space)
                if self._is_check:
                    self._define_check(space)
            exec(self._check if self._is_check else self._tests.code, space)
            tally.ended = True
            if self._tests.whole:
                tally.states[0] = HELD
        except Unanswered:
            pass  # whoever answers knows why
        except remote.Inexpressible as error:
            raise Unusable(str(error)) from None
        except Faulty as fault:
            tally.tests_error = fault.reason
        except BaseException as error:
            if isinstance(error, ImportError) and not remote.from_program(error):
                tally.tests_error = type(error).__name__
            elif not isinstance(error, AssertionError) or remote.from_program(error):
                tally.note(error)
            else:
                tally.said = tally.said or f"AssertionError: {text_of(error)}\n"
        return tally

    def _define_check(self, space: dict[str, Any]) -> None:
        # a prompt may have a `check` of its own, which must not stand in for a missing one
        space.pop("check", None)
        exec(self._tests.code, space)
        if "check" not in space:
            raise Faulty("no function `check` in the tests")

    def _unloaded(self, run: Run) -> dict[str, Any]:
        return unloaded(run, len(self._lines), self._desk.stderr())

    def _facts(self, tally: Tally, run: Run, died: bool) -> dict[str, Any]:
        if tally.tests_error and not died:
            return {"tests_error": tally.tests_error}
        if died and self._tests.whole:
            tally.states[0] = FAILED
        return {**tally.facts(), "load": run.load, "died": died, **run.status, "stderr": self._desk.stderr()}


def encoded(name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> bytes:
    """A call as a line.

    Raises:
        CodecError: an argument is no plain data: a function, say, that only an interactive run can call back.
    """
    return codec.dumps([name, list(args), keywords], _refer)


def _refer(value: object) -> Token:
    if (token := token_of(value)) is None:
        raise codec.CodecError(f"{type(value).__name__} is no plain data")
    return token


class Faulty(Exception):
    """The tests' own preparation failed."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


@contextmanager
def _fault_of_tests() -> Iterator[None]:
    """What fails in here is the tests' fault, unless it comes from the program or is an assert of theirs."""
    try:
        yield
    except Exception as error:
        if isinstance(error, Faulty):
            raise
        if isinstance(error, NameError | AssertionError) or remote.from_program(error):
            raise
        raise Faulty(type(error).__name__) from None


def stand_in(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """What the tests call in place of the program's function."""

    def asking(*args: Any, **keywords: Any) -> Any:
        return call(name, args, keywords)

    asking.__name__ = asking.__qualname__ = name
    return asking


def _compiled(source: str) -> CodeType:
    return compile(source, TEST_SOURCE, "exec", dont_inherit=True)


def seed() -> None:
    """Tests that draw their inputs draw the same ones for every program."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
