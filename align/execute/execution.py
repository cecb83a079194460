"""What running one program on its tests showed, and the outcome it amounts to. Gives no score."""

import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..schema import Isolation, Outcome
from .sandbox.board import COMPILE, ENDED, HELD, LOADING, RUNNING, TESTING, TESTS, UNREACHED

TAIL_CHARACTERS = 500
_CPU_SIGNALS = {signal.SIGPROF, signal.SIGXCPU}
_NAMES = {"MemoryError": "memory", "SIGXFSZ": "output_limit"}
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


def judge(facts: Mapping[str, Any], cpu_limit: float, isolation: Isolation) -> Execution:
    """The outcome of what a zygote reported.

    Args:
        facts: the board's facts, and how the process ended.
        cpu_limit: the limit it ran under, in CPU seconds.
        isolation: the level it ran under.
    """
    if "tests_error" in facts:
        return Execution("test_error", facts["tests_error"], 0, 0, None, isolation, None, 0.0)
    passed = _passed(facts)
    outcome, reason = _outcome(facts, passed, cpu_limit)
    failed = [index for index, held in enumerate(passed) if not held]
    tested = facts["phase"] != LOADING and outcome != "test_error"
    return Execution(
        outcome=outcome,
        reason=reason,
        tests_passed=sum(passed) if tested else 0,
        tests_total=len(passed),
        failed_tests=failed if tested and failed else None,
        isolation=isolation,
        stderr_tail=None if outcome == "passed" else _tail(facts["stderr"]),
        cpu_seconds=facts["cpu_seconds"],
    )


def _passed(facts: Mapping[str, Any]) -> list[bool]:
    """For each assert, whether it holds: one that was not reached, or was left by an exception that the tests
    waited for, holds only where the tests ran to their end."""
    holds = {HELD, UNREACHED, RUNNING} if facts["phase"] == ENDED else {HELD}
    return [state in holds for state in facts["asserts"]]


def _outcome(facts: Mapping[str, Any], passed: list[bool], cpu_limit: float) -> tuple[Outcome, str | None]:
    phase, reason = facts["phase"], _NAMES.get(facts["reason"], facts["reason"]) or None
    if facts["fault"] == COMPILE:
        return "compile_error", reason
    if facts["fault"] == TESTS:
        return "test_error", reason
    if phase == ENDED and all(passed):
        return "passed", None
    # neither the end of the tests nor an exception was seen: the process was ended, or ended itself
    died = phase in (LOADING, TESTING) and not (phase == LOADING and facts["raised"])
    if died and (facts["stalled"] or facts["signal"] in _CPU_SIGNALS or facts["cpu_seconds"] >= cpu_limit):
        return "timeout", None
    reason = reason or (_death(facts["signal"]) if died else None)
    if phase == LOADING or ((died or facts["raised"]) and not any(passed)):
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
    return _NAMES.get(name, name)


def _tail(stderr: str) -> str | None:
    for pattern, replacement in _SCRUBBED:
        stderr = pattern.sub(replacement, stderr)
    for place in (sys.prefix, sys.base_prefix):
        stderr = stderr.replace(place, "<python>")
    return stderr.strip()[-TAIL_CHARACTERS:] or None
