"""Run one program on its tests, in a process of its own that ends with it. Limits are set here; nobody is judged.

The same process holds the program and its tests: a program that means to forge its result can. What it cannot do is
pass by accident: leaving early, by whatever door, leaves the board without its last mark.
"""

import contextlib
import linecache
import os
import random
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NoReturn

from .board import BROKEN, COMPILE, ENDED, TESTING, TESTS, Board
from .counting import TALLY, Tests

PROGRAM, TEST_SOURCE = "<program>", "<tests>"
OUTPUT_BYTES = 16 << 20
"""Largest stdout, stderr or file of a program."""
OPEN_FILES = 256
_UNCOMPILABLE = (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError)


class Tally:
    """What rewritten asserts report to."""

    def __init__(self, board: Board, lines: tuple[str, ...]) -> None:
        self._board, self._lines = board, lines
        self._me = os.getpid()
        self._quiet = False

    def begin(self, index: int) -> int:
        """Assert `index` is about to be evaluated."""
        self._end_copies()
        return self._board.begin(index)

    def judge(self, index: int, value: object) -> None:
        """Assert `index` gave `value`; whatever its truth test raises is the assert's own exception."""
        self._end_copies()
        if value:
            self._board.held(index)
        else:
            self._board.failed(index)
            self._tell(f"AssertionError: {self._lines[index]}\n")

    def raised(self, index: int) -> None:
        """Assert `index` raised the exception being handled."""
        self._end_copies()
        error = sys.exc_info()[1]
        self._board.failed(index)
        if error is not None:
            self._board.raised(type(error).__name__)
            self._tell(_describe(error))

    def end(self) -> None:
        """The tests ran to their end."""
        self._end_copies()
        self._board.reach(ENDED)

    def _end_copies(self) -> None:
        # a program that forks must not have its tests finished by its copy
        if os.getpid() != self._me:
            os._exit(0)

    def _tell(self, text: str) -> None:
        # the first failure explains the verdict; a thousand more would only push it out of the tail
        if not self._quiet:
            self._quiet = True
            _say(text)


class _Stop(BaseException):
    """Nothing more is to be run; the board says why."""


def run(job: dict[str, Any], tests: Tests, board: Board) -> NoReturn:
    """Run the job's program and tests, leave the result on the board, and end this process."""
    try:
        _limit(job["cpu_seconds"], job["memory_mb"])
        # forking seeds anew; tests that draw random inputs must draw the same ones in every run
        random.seed(0)
        module = ModuleType("program")
        sys.modules["program"] = module
        with contextlib.suppress(_Stop):
            _load(job, module.__dict__, board)
            board.reach(TESTING)
            tally = Tally(board, tests.lines)
            module.__dict__[TALLY] = tally
            _test(job, tests, module.__dict__, board)
            tally.end()
    finally:
        os._exit(0)


def _limit(cpu_seconds: float, memory_mb: int) -> None:
    os.setsid()
    whole = int(cpu_seconds) + 1
    for what, soft, hard in (
        (resource.RLIMIT_AS, memory_mb << 20, memory_mb << 20),
        (resource.RLIMIT_CPU, whole, whole + 1),
        (resource.RLIMIT_FSIZE, OUTPUT_BYTES, OUTPUT_BYTES),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES),
    ):
        resource.setrlimit(what, (soft, hard))
    # Python ignores it, and a program could then catch the OSError and go on
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    # RLIMIT_CPU counts whole seconds; this timer has fractions, and its signal ends the process
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)


def _load(job: dict[str, Any], space: dict[str, Any], board: Board) -> None:
    _remember(PROGRAM, job["source"])
    _remember(TEST_SOURCE, job["tests"])
    try:
        code = compile(job["source"], PROGRAM, "exec", dont_inherit=True)
    except _UNCOMPILABLE as error:
        board.blame(COMPILE, type(error).__name__)
        _say(_describe(error))
        raise _Stop from None
    with _watched(board, at_fault=_is_tests_own):
        exec(compile(job["imports"], TEST_SOURCE, "exec", dont_inherit=True), space)
    with _watched(board, at_fault=_nobody):
        if job["prelude"] is not None:
            exec(compile(job["prelude"], PROGRAM, "exec", dont_inherit=True), space)
        exec(code, space)


def _test(job: dict[str, Any], tests: Tests, space: dict[str, Any], board: Board) -> None:
    if tests.whole:
        board.begin(0)
    with _watched(board, at_fault=_is_tests_own):
        exec(compile(job["setup"], TEST_SOURCE, "exec", dont_inherit=True), space)
    if job["test_kind"] == "asserts":
        with _watched(board, at_fault=_cannot_import):
            exec(tests.code, space)
    else:
        _call_check(job["entry_point"], tests, space, board)
    if tests.whole:
        board.held(0)


def _call_check(entry_point: str, tests: Tests, space: dict[str, Any], board: Board) -> None:
    # the program may have a `check` of its own, which must not stand in for a missing one
    space.pop("check", None)
    with _watched(board, at_fault=_is_tests_own):
        exec(tests.code, space)
    if "check" not in space:
        board.blame(TESTS, "no function `check` in the tests")
        raise _Stop
    with _watched(board, at_fault=_cannot_import):
        exec(compile(f"check({entry_point})", TEST_SOURCE, "exec", dont_inherit=True), space)


@contextlib.contextmanager
def _watched(board: Board, at_fault: Callable[[BaseException], bool]) -> Iterator[None]:
    """Write what escapes on the board, as the tests' fault where `at_fault` says so."""
    try:
        yield
    except BaseException as error:
        name = type(error).__name__
        if at_fault(error):
            board.blame(TESTS, name)
        elif not isinstance(error, AssertionError) or _passed_through_program(error):
            board.raised(name)
        if board.phase == TESTING:
            board.reach(BROKEN)
        _say(_describe(error))
        raise _Stop from None


def _nobody(error: BaseException) -> bool:
    return False


def _is_tests_own(error: BaseException) -> bool:
    """Raised by the tests' own preparation; a missing name is the program's: it should have defined it."""
    return not isinstance(error, NameError | AssertionError) and not _passed_through_program(error)


def _cannot_import(error: BaseException) -> bool:
    return isinstance(error, ImportError) and not _passed_through_program(error)


def _passed_through_program(error: BaseException) -> bool:
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_filename == PROGRAM for frame, _ in frames)


def _describe(error: BaseException) -> str:
    step = error.__traceback__
    while step is not None and step.tb_frame.f_code.co_filename not in (PROGRAM, TEST_SOURCE):
        step = step.tb_next
    return "".join(traceback.format_exception(type(error), error, step, limit=-4, chain=False))


def _remember(filename: str, source: str) -> None:
    """Let tracebacks show the source's lines."""
    lines = [f"{line}\n" for line in source.splitlines()]
    linecache.cache[filename] = (len(source), None, lines, filename)


def _say(text: str) -> None:
    # the reason stands on the board already; stderr may be closed, or full
    with contextlib.suppress(OSError):
        os.write(2, text.encode("utf-8", "backslashreplace")[-4096:])
