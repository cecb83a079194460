"""Judge a candidate by a unittest or pytest-style file. Which tests there are and how they ran is `suite`'s.

A problem is judged from its own side alone: what the tests do that cannot be done here excuses a program only where
the reference, or a program that does nothing, makes them do it too.
"""

import random
import socket
from collections.abc import Callable, Sequence
from typing import Any

from . import remote, survey
from .candidate import source_file
from .desk import Desk, Run, Unusable, loading, unloaded
from .keeper import Export
from .memory import file_of
from .stand_ins import as_exports, register
from .suite import Report, Result, run_suite
from .tally import FAILED, HELD, Tally

Talk = Callable[[remote.Remote], None]

_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)


class Suites:
    """The test file of one problem.

    Args:
        job: the problem's checks as plain data.
        desk: runs candidates.

    Raises:
        Unusable: the tests cannot be read, or there are none.
    """

    def __init__(self, job: dict[str, Any], desk: Desk) -> None:
        self._desk = desk
        self._source: str = "\n".join(job["tests"])
        self._module: str = job["module"]
        try:
            self._names = survey.test_names(self._source)
            self._taken = survey.imported_names(self._source, self._module)
        except _UNREADABLE as error:
            raise Unusable(type(error).__name__) from None
        if not self._names:
            raise Unusable("no tests")
        self._before = "\n".join(text for text in (job["imports"], register(self._module)) if text)
        self._reference: str | None = job["reference"]
        self._exports = self._told() if self._reference is not None else None
        self._excuse: str | None = None
        self._excuse_sought = False

    def judge(self) -> dict[str, Any]:
        """The facts about the present candidate."""
        count = _Count(self._names)
        run = self._converse(lambda program: self._run(program, count))
        if run.load != "loaded":
            return unloaded(run, len(self._names), self._desk.stderr())
        stderr = self._desk.stderr()
        if count.trouble and (excuse := self._excused()):
            raise Unusable(excuse)
        return {**count.facts(), "load": run.load, **run.status, "stderr": stderr}

    def _run(self, program: remote.Remote, count: "_Count") -> None:
        # tests that draw their inputs draw the same ones for every program
        random.seed(0)
        try:
            report = run_suite(self._source, self._module, self._exports, program, count.add)
        except remote.Gone:
            count.died = True
        except BaseException as error:
            count.broken_off(error)
        else:
            count.ended(report, lost=program.lost is not None)

    def _converse(self, talk: Talk, source: str | None = None) -> Run:
        """Run the candidate, or another source, and talk to it if it loads."""
        ours, theirs = socket.socketpair()
        with ours:
            other = None if source is None else file_of(source_file(self._before, source))
            self._desk.interactive(theirs, other)
            line = remote.Line(ours.fileno())
            try:
                load, error = loading(line.receive())
            except remote.Gone:
                load, error = "died", None
            if load == "loaded":
                talk(remote.Remote(line))
            return Run(self._desk.stop(), load, error, [])

    def _told(self) -> dict[str, Export] | None:
        """What the reference has under the names that the tests import; None where it does not load."""
        told: dict[str, Export] = {}

        def ask(program: remote.Remote) -> None:
            try:
                told.update(as_exports(program.ask("exports", self._taken), self._taken))
            except remote.Gone:
                told.clear()

        self._converse(ask, self._reference)
        return told or None

    def _excused(self) -> str | None:
        """What keeps the tests from being run whatever the program does."""
        if not self._excuse_sought:
            self._excuse_sought = True
            count = _Count(self._names)
            self._converse(lambda program: self._run(program, count), self._reference or _idle(self._taken))
            self._excuse = count.trouble
        return self._excuse


class _Count:
    """Facts about one run of a test file.

    Args:
        names: of its tests.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._places = {name: place for place, name in enumerate(names)}
        self._tally = Tally(names)
        self._told: set[str] = set()
        self._stray = False
        """A test failed under a name that nobody expected."""
        self.died = False
        """The program ended before the tests did."""
        self.trouble: str | None = None
        """What the tests did that cannot be done here, or what is wrong with them."""

    def add(self, result: Result) -> None:
        """Note what became of one test."""
        tally, passed = self._tally, result.status == "passed"
        place = self._places.get(result.name)
        self._told.add(result.name)
        if place is not None:
            tally.states[place] = HELD if passed else FAILED
        self._stray = self._stray or (place is None and not passed)
        if not passed:
            tally.said = tally.said or f"{result.name}: {result.reason}\n"
        if result.error:
            tally.raised_any = True
            tally.reason = tally.reason or result.error

    def ended(self, report: Report, *, lost: bool) -> None:
        """Note what became of the file."""
        self.died = lost
        self.trouble = report.unsupported or report.fault
        if self.trouble is not None:
            self._tally.said = self._tally.said or f"{self.trouble}\n"
        whole = {*self._told, *report.skipped} >= self._places.keys() and not self._stray
        self._tally.ended = whole and self.trouble is None and not lost

    def broken_off(self, error: BaseException) -> None:
        """Note what the tests ended themselves with."""
        self._tally.note(error)

    def facts(self) -> dict[str, Any]:
        return {**self._tally.facts(), "died": self.died}


def _idle(names: Sequence[str]) -> str:
    """A program that has all names and does nothing."""
    return "\n".join(
        f"class {name}:\n    def __init__(self, *args, **keywords): pass"
        if name[0].isupper()
        else f"def {name}(*args, **keywords): pass"
        for name in names
    )
