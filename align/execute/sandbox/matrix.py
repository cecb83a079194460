"""The outcome of every single case on a candidate: each case is one assert, and none hides another.

All cases' first calls are known beforehand, and a candidate answers them in one batch. Cases are judged here, from
its answers: what a case makes of an answer is worked out once, for all candidates that give it. A case whose next call
depends on an answer is asked again, in another run. Equal calls are made once.
"""

from dataclasses import dataclass, field
from types import CodeType
from typing import Any
from zlib import crc32

from . import codec, limited
from .asserts import TEST_SOURCE, encoded, seed, stand_in
from .desk import Desk, Run, Unusable, answered, unloaded
from .remote import Inexpressible, from_program
from .tally import FAILED, HELD, Unanswered

PASSED, WRONG, RAISED, LATE, NOT_RUN = "1AET0"
"""Letters of an outcome: it holds; an AssertionError of its own; another exception; over its time; nothing is known."""
MOST_LATE = 10
"""Calls of one program that may take too long, before it is asked no more."""
MOST_RUNS = 12
"""Of one program: it is started anew where a call ended it, and where answers lead to further calls."""
_SHARE = 10
"""A run may take the time of so many calls, and a second to load."""
_KEPT_BYTES = 1 << 14
"""Of an answer whose consequences are remembered."""
_KEPT = 1 << 12
"""Answers of one call whose consequences are remembered."""

DIGEST = 8
NOTHING = "-" * DIGEST
"""In place of a digest: the case makes no call, or its first one returned nothing."""
_VALUE = b'["value",'

Answers = tuple[bytes, ...]
Step = str | bytes
"""A case's letter, or the call that it makes next."""


def budget_of(case_seconds: float) -> float:
    """CPU seconds after which a run makes no further call."""
    return 1.0 + _SHARE * case_seconds


@dataclass
class Case:
    """One assert, and what it makes of answers."""

    code: CodeType
    first: Step = NOT_RUN
    steps: dict[Answers, Step] = field(default_factory=dict)


class Matrix:
    """The cases of one problem.

    Args:
        job: the problem's checks as plain data.
        desk: runs candidates.

    Raises:
        Unusable: a case does not compile, or what runs before them fails.
    """

    def __init__(self, job: dict[str, Any], desk: Desk) -> None:
        self._desk = desk
        self._names: list[str] = list(job["exports"])
        self._seconds = float(job["case_seconds"])
        self._header = limited.header(self._seconds, budget_of(self._seconds))
        limited.watch()
        try:
            self._cases = [Case(compile(text, TEST_SOURCE, "exec", dont_inherit=True)) for text in job["tests"]]
            self._space: dict[str, Any] = {"__name__": "tests"}
            for text in (job["imports"], job["prelude"], job["setup"]):
                exec(compile(text or "", TEST_SOURCE, "exec", dont_inherit=True), self._space)
        except Exception as error:
            raise Unusable(type(error).__name__) from None
        for case in self._cases:
            case.first = self._step(case, ())
            if isinstance(case.first, bytes):
                # a side that can be worked out without the program shows here whether it ends
                self._step(case, (b'["value",null]',))
        self._calls = list(dict.fromkeys(case.first for case in self._cases if isinstance(case.first, bytes)))

    def judge(self) -> dict[str, Any]:
        """The facts about the present candidate."""
        asked = _Asked(self._desk, self._header)
        run = asked.run(self._calls, first=True)
        if run.load != "loaded":
            return {**unloaded(run, len(self._cases), self._desk.stderr()), "cases": NOT_RUN * len(self._cases)}
        asked.make(self._calls)
        letters = [self._letter(case, asked) for case in self._cases]
        while wanted := asked.take_wanted():
            asked.make(wanted)
            letters = [self._letter(case, asked) for case in self._cases]
        cases = "".join(letters)
        return {
            "states": "".join(str(HELD if letter == PASSED else FAILED) for letter in cases),
            "ended": True,
            "raised": RAISED in cases,
            "reason": "",
            "said": "",
            "load": "loaded",
            "died": False,
            **asked.status,
            "stderr": self._desk.stderr(),
            "cases": cases,
            "returned": "".join(asked.digest(case.first) for case in self._cases),
        }

    def _letter(self, case: Case, asked: "_Asked") -> str:
        """What a case shows; NOT_RUN where a call of it has no answer yet, or will have none."""
        step = case.first
        answers: Answers = ()
        while isinstance(step, bytes):
            answer = asked.answer(step)
            if len(answer) == 1:
                return answer.decode()
            answers = (*answers, answer)
            known = case.steps.get(answers)
            step = self._step(case, answers) if known is None else known
            if known is None and len(answer) <= _KEPT_BYTES and len(case.steps) < _KEPT:
                case.steps[answers] = step
        return step

    def _step(self, case: Case, answers: Answers) -> Step:
        """Play a case on answers to its first calls."""
        play = _Play(answers)
        space = {**self._space, **{name: stand_in(name, play.call) for name in self._names}}
        seed()
        try:
            limited.limited(self._seconds, lambda: exec(case.code, space))
        except Unanswered:
            return play.next or NOT_RUN
        except limited.Overtime:
            return LATE
        except Inexpressible:
            return NOT_RUN
        except AssertionError as error:
            return RAISED if from_program(error) else WRONG
        except BaseException:
            # whatever a case raises is its outcome
            return RAISED
        return PASSED


class _Play:
    """Answers a case's first calls, and notes the one after them."""

    def __init__(self, answers: Answers) -> None:
        self._answers = list(answers)
        self.next: bytes | None = None

    def call(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """The answer to the next call."""
        if self._answers:
            return answered(self._answers.pop(0))
        if self.next is None:
            try:
                self.next = encoded(name, args, keywords)
            except codec.CodecError:
                raise Inexpressible("an argument cannot be sent") from None
        raise Unanswered


class _Asked:
    """What one candidate has answered. Raises nothing for what the candidate does."""

    def __init__(self, desk: Desk, header: bytes) -> None:
        self._desk, self._header = desk, header
        self._answers: dict[bytes, bytes] = {}
        self._wanted: list[bytes] = []
        self._runs = self._late = 0
        self._run: Run | None = None
        self.status: dict[str, Any] = {}

    def run(self, calls: list[bytes], *, first: bool) -> Run:
        """Start the candidate on calls."""
        self._runs += 1
        self._run = self._desk.batch([self._header, *calls], first=first)
        status = self._run.status
        if not self.status or status["how"] or status["output_limit"]:
            self.status = status
        return self._run

    def make(self, calls: list[bytes]) -> None:
        """Have all calls answered, as far as the candidate's time goes."""
        while calls:
            run = self._run or self.run(calls, first=False)
            self._run = None
            count = self._taken(calls, run)
            over = self._runs >= MOST_RUNS or self._late >= MOST_LATE
            if over or run.load != "loaded":
                self._answers.update(dict.fromkeys(calls[count:], NOT_RUN.encode()))
                return
            calls = calls[count:]

    def _taken(self, calls: list[bytes], run: Run) -> int:
        """Note answers; how many calls need not be made again."""
        for number, (call, answer) in enumerate(zip(calls, run.answers, strict=False)):
            if answer == limited.REST:
                return number
            if answer == limited.OVERTIME:
                self._late += 1
                answer = LATE.encode()
            # letters stand for answers that there are not; no line of the codec is as short
            self._answers[call] = answer if len(answer) > 1 or answer == LATE.encode() else RAISED.encode()
        made = min(len(run.answers), len(calls))
        if made < len(calls) and run.load == "loaded":
            # this call ended the process
            self._answers[calls[made]] = (LATE if run.status["how"] else RAISED).encode()
            self._late += bool(run.status["how"])
            made += 1
        return made

    def answer(self, call: bytes) -> bytes:
        """An undecoded answer, or a letter; NOT_RUN, and noted as wanted, where it was not asked for."""
        known = self._answers.get(call)
        if known is None:
            self._wanted.append(call)
            return NOT_RUN.encode()
        return known

    def digest(self, step: Step) -> str:
        """What a case's first call returned, as `DIGEST` characters."""
        answer = self._answers.get(step, b"") if isinstance(step, bytes) else b""
        return f"{crc32(answer):08x}" if answer.startswith(_VALUE) else NOTHING

    def take_wanted(self) -> list[bytes]:
        """Calls that cases make after others; none where the candidate may not be asked again."""
        wanted, self._wanted = list(dict.fromkeys(self._wanted)), []
        return wanted if self._runs < MOST_RUNS and self._late < MOST_LATE else []
