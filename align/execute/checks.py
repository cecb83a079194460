"""The problem's half of a program: its tests, and what they take from the program that they judge.

Whether a problem can be judged at all is decided here, from the problem alone: a program cannot take itself out of
the count. Reads the tests and runs nothing. Comparing values is `sandbox.compare`.
"""

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Literal

from ..schema import Problem, TestKind, content_id
from .definitions import compiles
from .exports import Taken, taken_by_asserts, taken_by_suite
from .sandbox.survey import why_not


@dataclass(frozen=True)
class Checks:
    """The tests of one problem; all its programs share the object."""

    kind: TestKind | Literal["cases"]
    """A problem's, or `cases`: each test is one assert, and the outcome of each is told (`sandbox.matrix`)."""
    tests: tuple[str, ...]
    prelude: str | None
    """Source that the tester runs first: a `check` prompt whose helpers the tests need, or imports that asserts borrow
    from the program."""
    imports: str
    """Import lines that run before the program, and before the tests."""
    setup: str
    """Source that runs before the tests; where something is `given`, in the program's process, after the program."""
    entry_point: str | None
    module: str | None = None
    """Name under which a unittest file imports the program."""
    exports: dict[str, str] = field(default_factory=dict)
    """Name that the tests take from the program → `function`, `data`, `class`, or `exception:` with its nearest builtin
    base."""
    bare: tuple[str, ...] = ()
    """Functions among them that asserts also use without calling them."""
    given: tuple[str, ...] = ()
    """Names that asserts pass to the program and that its own process has from the setup: objects of its classes."""
    atol: float | None = None
    """Tolerance of kinds `calls` and `io`."""
    reference: str | None = None
    """A right program, where it has to give the values that calls expect, or tell what unittest files import."""
    compare: str = "equal"
    """Comparator of kind `calls`: one that `sandbox.compare` names."""
    case_seconds: float | None = None
    """CPU seconds of one call, of kind `cases`."""

    @cached_property
    def key(self) -> str:
        """Hash of the content."""
        return content_id(self.job())

    def job(self) -> dict[str, Any]:
        """Everything, as plain JSON data."""
        return asdict(self)


def checks_for(problem: Problem) -> tuple[Checks, str | None]:
    """A problem's checks, and why they cannot be run, where that is so. The same object for the same content."""
    return _checks(
        problem.test_kind,
        tuple(problem.tests),
        "\n".join(problem.test_imports),
        problem.test_setup or "",
        problem.entry_point,
        problem.prompt if isinstance(problem.prompt, str) else None,
        problem.reference,
        problem.atol,
        problem.language,
    )


@lru_cache(maxsize=2048)
def _checks(
    kind: TestKind,
    tests: tuple[str, ...],
    imports: str,
    setup: str,
    entry_point: str | None,
    prompt: str | None,
    reference: str | None,
    atol: float | None,
    language: str,
) -> tuple[Checks, str | None]:
    if language != "python":
        return Checks(kind, tests, None, imports, setup, entry_point), f"{language} is not run"
    plan = _plan(kind, tests, imports, setup, entry_point, reference)
    expected, compare = _calls(tests) if kind == "calls" else (True, "equal")
    checks = Checks(
        kind=kind,
        tests=tests,
        prelude=(_runnable(prompt) if kind == "check" else plan.imports) or None,
        imports=imports,
        setup=setup,
        entry_point=entry_point,
        module=plan.module,
        exports=plan.exports,
        bare=plan.bare,
        given=plan.given,
        atol=atol if kind in ("calls", "io") else None,
        reference=reference if kind == "unittest" or not expected else None,
        compare=compare,
    )
    return checks, _why_not(checks, plan, expected)


def _plan(
    kind: TestKind, tests: tuple[str, ...], imports: str, setup: str, entry_point: str | None, reference: str | None
) -> Taken:
    if kind == "asserts":
        return taken_by_asserts(imports, setup, "\n".join(tests), reference, entry_point)
    if kind == "unittest":
        return taken_by_suite("\n".join(tests), reference)
    return Taken({entry_point: "function"} if entry_point and kind != "io" else {})


def _why_not(checks: Checks, plan: Taken, expected: bool) -> str | None:
    if plan.missing:
        return f"the tests import {plan.missing}, which is not there"
    if plan.obstacle:
        return plan.obstacle
    if checks.kind == "unittest" and checks.module is None:
        return "the tests import no program"
    if checks.kind == "unittest" and checks.module is not None:
        # what cannot be read is left to the tester
        source = "\n".join(checks.tests)
        kinds = {name: [kind.partition(":")[0]] for name, kind in checks.exports.items()}
        return why_not(source, checks.module, kinds) if compiles(source) else None
    if checks.kind == "calls" and checks.entry_point is None:
        return "calls need an entry_point"
    if not expected and checks.reference is None:
        return "a test without an output needs a reference"
    return None


def _runnable(prompt: str | None) -> str | None:
    """The prompt as a program: its helpers, and a last function that may still lack a body."""
    if prompt is None:
        return None
    return next((source for source in (prompt, f"{prompt}\n    pass\n") if compiles(source)), None)


@lru_cache(maxsize=2048)
def _calls(tests: tuple[str, ...]) -> tuple[bool, str]:
    """Whether all entries of kind `calls` say what they expect; and their comparator."""
    entries = [_entry(test) for test in tests]
    name = next((entry["compare"] for entry in entries if isinstance(entry.get("compare"), str)), "equal")
    return all("output" in entry for entry in entries), name


def _entry(test: str) -> dict[str, Any]:
    """The object of one entry; empty where it is none, which the tester reports."""
    try:
        entry = json.loads(test)
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}
