"""What the tests showed, assert by assert, in the tester's own memory. Holds facts; the supervisor judges them."""

import errno
import sys
from collections.abc import Sequence
from typing import Any

from .codec import CodecError

UNREACHED, RUNNING, HELD, FAILED = range(4)
"""State of one assert or case."""


class Unanswered(BaseException):
    """A call that has no answer: the recorder has none, or the program ended before it."""


def name_of(error: BaseException) -> str:
    """What a verdict calls an exception: its type, or the limit that it ran into."""
    if isinstance(error, OSError) and error.errno in (errno.EFBIG, errno.ENOSPC):
        return "output_limit"
    if isinstance(error, MemoryError):
        return "memory"
    # a value beyond the codec's caps
    return "output_limit" if isinstance(error, CodecError) else type(error).__name__


def text_of(error: BaseException) -> str:
    """The beginning of an exception's message."""
    try:
        return str(error)[:300]
    except ValueError:
        return "…"  # a number too long to be printed


class Tally:
    """Facts about one program; rewritten asserts report here.

    Args:
        lines: the source line of each assert, or the name of each case.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self.states = bytearray(len(lines))
        self.ended = False
        """The tests ran to their end."""
        self.raised_any = False
        self.reason = ""
        """Name of the first exception."""
        self.said = ""
        """What the first failure looks like."""
        self.tests_error = ""
        """What is wrong with the tests themselves."""

    def begin(self, index: int) -> int:
        """Assert `index` is being evaluated."""
        if self.states[index] != FAILED:
            self.states[index] = RUNNING
        return index

    def judge(self, index: int, value: object) -> None:
        """Assert `index` gave `value`; whatever its truth test raises is the assert's own exception."""
        if not value:
            self.failed(index)
        elif self.states[index] != FAILED:
            # an earlier failure stays
            self.states[index] = HELD

    def failed(self, index: int) -> None:
        """Assert `index` did not hold."""
        self.states[index] = FAILED
        self.said = self.said or f"AssertionError: {self._lines[index]}\n"

    def raised(self, index: int) -> None:
        """Assert `index` raised the exception being handled."""
        error = sys.exc_info()[1]
        self.states[index] = FAILED
        if error is not None and not isinstance(error, Unanswered):
            self.note(error)

    def note(self, error: BaseException) -> None:
        """Something was raised."""
        self.raised_any = True
        name = name_of(error)
        self.reason = self.reason or name
        self.said = self.said or f"{name}: {text_of(error)}\n"

    def facts(self) -> dict[str, Any]:
        """Everything, as plain data."""
        return {
            "states": "".join(map(str, self.states)),
            "ended": self.ended,
            "raised": self.raised_any,
            "reason": self.reason,
            "said": self.said[:1000],
        }
