"""What running one program on its tests showed, and the outcome it amounts to. Gives no score."""

import re
import signal
import sys
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field

from ..schema import STRICT, Isolation, Outcome
from .sandbox.tally import HELD, RUNNING, UNREACHED

TAIL_CHARACTERS = 500
_SCRUBBED = ((re.compile(r"0x[0-9a-fA-F]+"), "0x…"), (re.compile(r"[\w./-]*/align-run-\w+"), "."))


@dataclass(frozen=True)
class Execution:
    """The facts of one program's run."""

    outcome: Outcome
    reason: str | None
    """Exception type, signal, `memory`, `output_limit`, or `exited`."""
    tests_passed: int
    """Assert statements that held in every execution."""
    tests_total: int
    """Assert statements in the test source."""
    failed_tests: list[int] | None
    """Indices of the asserts that did not hold, where tests were reached."""
    isolation: Isolation
    stderr_tail: str | None
    """At most 500 characters, without addresses and temporary paths; None for a program that passed."""
    cpu_seconds: float
    """Measured: user and system time; never part of a record."""
    cases: str | None = None
    """Kind `cases`, of a program that loads: a letter a case, as `sandbox.matrix` has them."""
    returned: str | None = None
    """The same: eight characters a case, a digest of what its first call returned."""


class Facts(BaseModel):
    """What a tester tells about one program. It may be wrong about its own tests, but never malformed."""

    model_config = STRICT

    candidate: int
    states: str = Field(pattern="^[0-3]*$")
    """State of each assert, a digit each."""
    ended: bool
    """The tests ran to their end."""
    raised: bool
    """The program, or an assert, raised."""
    reason: str
    """The first exception's name."""
    said: str
    """What the first failure looks like."""
    load: Literal["loaded", "compile_error", "load_error", "died"]
    died: bool
    """The program ended before it had answered every call."""
    cpu: float
    """CPU seconds of its longest run."""
    signal: int
    exit: int
    how: Literal["", "timeout", "stalled"]
    """Why it was ended."""
    output_limit: bool
    stderr: str
    """The end of it."""
    cases: str | None = Field(default=None, pattern="^[1AET0]*$")
    """Kind `cases`: what each showed."""
    returned: str | None = Field(default=None, pattern="^[0-9a-f-]*$")


class BadTests(BaseModel):
    """What a tester tells where its tests cannot be run."""

    model_config = STRICT

    candidate: int
    tests_error: str


class TesterDied(BaseModel):
    """What a warden tells where the tester ended before it had judged a program."""

    model_config = STRICT

    alone: bool
    """It had no others to judge at the same time, one of which it may have died of."""

    how: Literal["timeout", "stalled", "gone"]
    ran: bool
    """The program had been run: the tests may have died of what it returned."""
    signal: int
    """That the tester had died of; 0 where it was ended, or left by itself."""


def judge(facts: Facts, isolation: Isolation) -> Execution:
    """The outcome of what a tester reported.

    Args:
        facts: its report.
        isolation: the level the program ran under.
    """
    passed = _passed(facts)
    outcome, reason = _outcome(facts, passed)
    failed = [index for index, held in enumerate(passed) if not held]
    tested = facts.load == "loaded"
    return Execution(
        outcome=outcome,
        reason=reason,
        tests_passed=sum(passed) if tested else 0,
        tests_total=len(passed),
        failed_tests=failed if tested and failed else None,
        isolation=isolation,
        stderr_tail=None if outcome == "passed" else _tail(facts.said + facts.stderr),
        cpu_seconds=facts.cpu,
        cases=facts.cases,
        returned=facts.returned,
    )


def without_verdict(outcome: Outcome, reason: str, isolation: Isolation) -> Execution:
    """An execution that says nothing of the program."""
    return Execution(outcome, reason, 0, 0, None, isolation, None, 0.0)


def judge_death(died: TesterDied, isolation: Isolation) -> Execution:
    """The outcome where a fresh tester died again: of what the program returned, or of its own tests."""
    if not died.ran:
        return without_verdict("test_error", died.how if died.how != "gone" else _death(died.signal), isolation)
    if died.how == "gone":
        return Execution("wrong_answer", _death(died.signal), 0, 0, None, isolation, None, 0.0)
    return Execution("timeout", None, 0, 0, None, isolation, None, 0.0)


def _passed(facts: Facts) -> list[bool]:
    """For each assert, whether it holds: one that was not reached, or was left by an exception that the tests
    waited for, holds only where the tests ran to their end."""
    holds = {HELD, UNREACHED, RUNNING} if facts.ended and not facts.died else {HELD}
    return [int(state) in holds for state in facts.states]


def _outcome(facts: Facts, passed: list[bool]) -> tuple[Outcome, str | None]:
    reason = "output_limit" if facts.output_limit and facts.died else facts.reason or None
    if facts.load == "compile_error":
        return "compile_error", reason
    if facts.load == "loaded" and facts.ended and not facts.died and all(passed):
        return "passed", None
    if facts.how:
        return "timeout", None
    if facts.died:
        reason = reason or _death(facts.signal)
    if facts.load != "loaded" or ((facts.died or facts.raised) and not any(passed)):
        return "runtime_error", reason
    return "wrong_answer", reason


def _death(number: int) -> str:
    if not number:
        return "exited"
    try:
        name = signal.Signals(number).name
    except ValueError:
        # real-time signals have no name
        name = f"signal {number}"
    return name


def _tail(stderr: str) -> str | None:
    for pattern, replacement in _SCRUBBED:
        stderr = pattern.sub(replacement, stderr)
    for place in (sys.prefix, sys.base_prefix):
        stderr = stderr.replace(place, "<python>")
    return stderr.strip()[-TAIL_CHARACTERS:] or None
