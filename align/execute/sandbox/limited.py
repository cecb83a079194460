"""A candidate's answers to calls that are limited one by one: one that takes too long does not end those after it.

Runs in the candidate. A program that undoes the limit gains nothing: it is ended at the limit of its whole run.
"""

# the module `signal` would cost every program its enumerations
import _signal  # type: ignore[import-not-found]
import binascii
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from . import codec, remote

WORD = b"limited"
"""First word of such calls."""
OVERTIME = b'["overtime"]'
"""In place of an answer: the call took too long."""
REST = b'["rest"]'
"""In place of an answer: this call and those after it were not made."""

_at_work = False
_late = False


class Overtime(BaseException):
    """A call's time is used up."""


def header(seconds: float, budget: float) -> bytes:
    """The line before the calls.

    Args:
        seconds: CPU time of a call.
        budget: CPU seconds of the run; what is left when it is used up is not called.
    """
    return b"%s %f %f" % (WORD, seconds, budget)


def answer(
    lines: Sequence[bytes],
    space: dict[str, Any],
    write: Callable[[bytes], None],
    tell: Callable[[BaseException], None],
) -> None:
    """Make calls in turn, and write a line for each.

    Args:
        lines: the header and the calls, undecoded.
        space: the program's namespace.
        write: takes a line.
        tell: shows the first exception.
    """
    seconds, budget = map(float, lines[0].split()[1:])
    watch()
    # chance is the same whenever the same is asked, and shows where cases ask twice, each time in a run of its own
    for name in ("random", "numpy.random"):
        if module := sys.modules.get(name):
            module.seed(binascii.crc32(b"".join(lines)))
    told = False
    for number, call in enumerate(lines[1:]):
        if number and time.process_time() > budget:
            write(REST)
            return
        try:
            name, args, keywords = codec.loads(call, lambda token: remote.resolve(space, token[1]))
            function = remote.resolve(space, name)
            line = codec.dumps(["value", limited(seconds, lambda: function(*args, **keywords))])  # noqa: B023
        except BaseException as error:
            line = codec.dumps(["error", codec.describe_error(error)])
            if not told and not _late:
                told = True
                tell(error)
        write(OVERTIME if _late else line)


def watch() -> None:
    """Have this process's calls limited from now on."""
    _signal.signal(_signal.SIGPROF, _interrupt)


def limited(seconds: float, call: Callable[[], Any]) -> Any:
    """What a call returns, in a process that called `watch`.

    Raises:
        Overtime: it used up its CPU seconds.
    """
    global _at_work, _late
    _late, _at_work = False, True
    try:
        # again and again: a program may catch whatever is raised in it
        _signal.setitimer(_signal.ITIMER_PROF, seconds, seconds)
        value = call()
    finally:
        _at_work = False
        _signal.setitimer(_signal.ITIMER_PROF, 0)
    if _late:
        raise Overtime
    return value


def _interrupt(number: int, frame: object) -> None:
    """End the call that is being made."""
    global _late
    if _at_work:
        _late = True
        raise Overtime
