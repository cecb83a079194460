"""Run a unittest or pytest-style test file in the tester, against a program in another process.

The module that the tests import is made of stand-ins: functions that call the program, exception classes made here,
copies of constants, classes whose objects stay with the program. Every test method or function counts once. Does not
run what `survey.why_not` speaks against, and does not limit time.
"""

import io
import sys
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any, Literal

from . import pytest_shim
from .keeper import Export
from .pytest_shim import Skipped, Unsupported
from .remote import Gone, Inexpressible, Remote, from_program
from .stand_ins import stand_in
from .survey import count_tests, imported_names, why_not
from .tally import name_of

__all__ = ["Report", "Result", "count_tests", "imported_names", "run_suite", "why_not"]

Status = Literal["passed", "failed", "error"]
Outcome = tuple[Status, str, str]
"""What one part of a test came to: the last three fields of a `Result`."""

_TESTS = "align_tests"
"""Name of the test file's module."""
_REASON = 500


@dataclass(frozen=True)
class Result:
    """What became of one test method or function."""

    name: str
    status: Status
    reason: str = ""
    error: str = ""
    """Name of the exception that ended it, unless that is an assertion of the tests."""


@dataclass
class Report:
    """What became of a test file."""

    results: list[Result] = field(default_factory=list)
    """In the order of definition; tests that are skipped whatever the program does are left out."""
    skipped: set[str] = field(default_factory=set)
    """Those, as far as only running the file tells."""
    fault: str | None = None
    """What is wrong with the test file itself: nothing was run."""
    unsupported: str | None = None
    """What the tests did that cannot be done here: the rest was not run."""


Tally = Callable[[Result], None]


def run_suite(source: str, module: str, exports: dict[str, Export] | None, remote: Remote, tally: Tally) -> Report:
    """Run a test file against the program that `remote` reaches.

    Args:
        source: the test file.
        module: the name under which it imports the solution.
        exports: what the reference has under the imported names (`Remote.ask("exports", names)` of a run of it);
            without it the program's own word is taken, and only a capitalised name can be a class.
        remote: a fresh one; it learns the stand-ins.
        tally: told of each result as soon as there is one.

    Raises:
        Gone: the program ended before the first test.
    """
    run = _Run(remote, tally)
    try:
        code = _compile(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return Report(fault=f"the tests do not compile: {error}")
    names = imported_names(source, module)
    solution, missing = stand_in(module, names, exports, remote)
    tests = ModuleType(_TESTS)
    with _modules({module: solution, "pytest": pytest_shim.module(), _TESTS: tests}), _silence():
        if run.load(code, tests, missing):
            run.everything(tests)
    return run.report


@lru_cache(maxsize=16)
def _compile(source: str) -> CodeType:
    return compile(source, f"<{_TESTS}>", "exec", dont_inherit=True)


@contextmanager
def _modules(modules: dict[str, ModuleType]) -> Iterator[None]:
    """Put modules in place of those of the same name for a while: a tester serves several programs."""
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


class _Nowhere(io.TextIOBase):
    def write(self, text: str) -> int:
        return len(text)


@contextmanager
def _silence() -> Iterator[None]:
    with redirect_stdout(_Nowhere()), redirect_stderr(_Nowhere()):
        yield


class _Run:
    """One run of a test file."""

    def __init__(self, remote: Remote, tally: Tally) -> None:
        self.remote = remote
        self.tally = tally
        self.report = Report()
        self.fixtures: dict[str, Any] = {}

    @property
    def over(self) -> bool:
        return self.remote.lost is not None or self.report.unsupported is not None

    def load(self, code: CodeType, tests: ModuleType, missing: str | None) -> bool:
        """Run the test file's top level; whether there are tests to run now."""
        try:
            exec(code, vars(tests))
        except (Unsupported, Inexpressible) as error:
            self.report.unsupported = str(error)
        except Gone:
            raise
        except BaseException as error:
            if missing is not None or from_program(error):
                self.report.results.append(Result("import", "error", _words(error), name_of(error)))
                self.tally(self.report.results[-1])
            else:
                self.report.fault = f"the test file raises {_words(error)}"
        else:
            return True
        return False

    def everything(self, tests: ModuleType) -> None:
        defined = [value for value in list(vars(tests).values()) if getattr(value, "__module__", None) == _TESTS]
        self.fixtures = {value.__name__: value for value in defined if pytest_shim.is_fixture(value)}
        for value in dict.fromkeys(value for value in defined if isinstance(value, type | FunctionType)):
            if isinstance(value, FunctionType):
                if value.__name__.startswith("test"):
                    self.function(value.__name__, value)
            elif issubclass(value, unittest.TestCase):
                self.case(value)
            elif value.__name__.startswith("Test") and value.__init__ is object.__init__:
                self.group(value)

    def case(self, kind: type[unittest.TestCase]) -> None:
        """Run a class of unittest's."""
        names = self.unskipped(kind)
        collector = _Collector(self)
        unittest.TestSuite(kind(name) for name in names).run(collector)
        for name in names[collector.done :]:
            self.record(f"{kind.__name__}.{name}", [collector.outside])

    def group(self, kind: type) -> None:
        """Run a class of pytest's, with a fresh object for each test."""
        for name in self.unskipped(kind):

            def test(name: str = name) -> None:
                instance = kind()
                getattr(instance, "setup_method", lambda: None)()
                try:
                    pytest_shim.run(getattr(instance, name), self.fixtures)
                finally:
                    getattr(instance, "teardown_method", lambda: None)()

            self.function(f"{kind.__name__}.{name}", test)

    def unskipped(self, kind: type) -> list[str]:
        """The test methods to run."""
        names = _test_names(kind)
        skipped = {name for name in names if _skipped(kind, name)}
        self.report.skipped |= {f"{kind.__name__}.{name}" for name in skipped}
        return [name for name in names if name not in skipped]

    def function(self, name: str, test: Callable[..., Any]) -> None:
        """Run a function of pytest's."""
        if getattr(test, "__unittest_skip__", False):
            self.report.skipped.add(name)
            return
        outcomes: list[Outcome] = []
        if self.over:
            outcomes.append(self.not_run)
        else:
            try:
                pytest_shim.run(test, self.fixtures)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                outcomes.append(self.outcome(error))
        self.record(name, outcomes)

    @property
    def not_run(self) -> Outcome:
        return "error", f"not run: {self.remote.lost}", ""

    def outcome(self, error: BaseException) -> Outcome:
        """What an exception says about a test."""
        if isinstance(error, Unsupported | Inexpressible):
            self.report.unsupported = self.report.unsupported or str(error)
        if isinstance(error, Skipped | unittest.SkipTest):
            return "failed", f"the test skipped itself: {error}", ""
        if isinstance(error, Gone):
            return "error", _words(error), ""
        failed = isinstance(error, AssertionError)
        name = "" if failed and not from_program(error) else name_of(error)
        return ("failed" if failed else "error"), _words(error), name

    def record(self, name: str, outcomes: list[Outcome]) -> None:
        if not outcomes and self.remote.lost is not None:
            # the tests may catch anything, but not that the program is gone
            outcomes = [("error", self.remote.lost, "")]
        if self.report.unsupported is not None:
            return
        result = Result(name, *outcomes[0]) if outcomes else Result(name, "passed")
        self.report.results.append(result)
        self.tally(result)


class _Collector(unittest.TestResult):
    """Hands what unittest reports over to a run."""

    def __init__(self, run: _Run) -> None:
        super().__init__()
        self.run = run
        self.done = 0
        self._outside: Outcome | None = None
        self._outcomes: list[Outcome] | None = None

    @property
    def outside(self) -> Outcome:
        """Why tests of the class were not run: it could not be set up, or the program is gone."""
        return self._outside or self.run.not_run

    def startTest(self, test: unittest.TestCase) -> None:
        self._outcomes = []

    def stopTest(self, test: unittest.TestCase) -> None:
        self.run.record(f"{type(test).__name__}.{test._testMethodName}", self._outcomes or [])
        self._outcomes = None
        self.done += 1
        if self.run.over:
            self.stop()

    def addError(self, test: Any, err: Any) -> None:
        if self._outcomes is None:
            self._outside = self._outside or self.run.outcome(err[1])
        else:
            self._outcomes.append(self.run.outcome(err[1]))

    addFailure = addError

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err is not None:
            self.addError(test, err)

    def addSkip(self, test: Any, reason: str) -> None:
        self.addError(test, (None, unittest.SkipTest(reason), None))

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        if isinstance(err[1], Gone | Inexpressible | Unsupported):
            self.addError(test, err)

    def addUnexpectedSuccess(self, test: Any) -> None:
        self.addError(test, (None, AssertionError("passed, and was expected to fail"), None))


def _test_names(kind: type) -> list[str]:
    """Names of test methods, in the order of definition, those of base classes first."""
    names = {name: None for base in reversed(kind.__mro__) for name in vars(base) if name.startswith("test")}
    return [name for name in names if callable(getattr(kind, name))]


def _skipped(kind: type, name: str) -> bool:
    return bool(getattr(kind, "__unittest_skip__", False) or getattr(getattr(kind, name), "__unittest_skip__", False))


def _words(error: BaseException) -> str:
    try:
        message = str(error)
    except Exception:
        message = ""
    return f"{type(error).__name__}: {message}"[:_REASON]
