"""The part of pytest that plain test files use: raises, approx, fail, skip, fixtures without arguments, two marks.

Whatever else is asked of it is `Unsupported` with its name. Collects nothing: `suite` does.
"""

import inspect
import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NoReturn

Test = Callable[..., Any]

_CASES = "_align_cases"
_SKIP = "__unittest_skip__"
_FIXTURE = "_align_fixture"


class Unsupported(BaseException):
    """A test file asks for what cannot be done here."""


class Skipped(Exception):
    """A test skipped itself."""


class Raised:
    """What `raises` gives: the exception, once there is one."""

    value: BaseException

    @property
    def type(self) -> type[BaseException]:
        return type(self.value)

    def match(self, pattern: str) -> bool:
        assert re.search(pattern, str(self.value)), f"{pattern!r} does not match {str(self.value)!r}"
        return True


def raises(expected: Any, *args: Any, match: str | None = None) -> Any:
    """A context that expects an exception; given a function and its arguments, the call that must raise it."""
    if args:
        with _raising(expected, match) as raised:
            args[0](*args[1:])
        return raised
    return _raising(expected, match)


@contextmanager
def _raising(expected: Any, match: str | None) -> Iterator[Raised]:
    raised = Raised()
    try:
        yield raised
    except expected as error:
        raised.value = error
        if match is not None:
            raised.match(match)
    else:
        raise AssertionError(f"did not raise {expected}")


class approx:
    """A number, or a list, tuple or dict of numbers, that equals what is near it."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, expected: Any, rel: float | None = None, abs: float | None = None) -> None:
        self.expected = expected
        self.rel = rel
        self.abs = abs

    def __eq__(self, actual: object) -> bool:
        return self._near(actual, self.expected)

    def __repr__(self) -> str:
        return f"approx({self.expected!r})"

    def _near(self, actual: object, expected: Any) -> bool:
        if isinstance(expected, dict):
            return (
                isinstance(actual, dict)
                and actual.keys() == expected.keys()
                and all(self._near(actual[key], value) for key, value in expected.items())
            )
        if isinstance(expected, list | tuple):
            return (
                isinstance(actual, list | tuple)
                and len(actual) == len(expected)
                and all(map(self._near, actual, expected))
            )
        if not isinstance(expected, int | float | complex) or not isinstance(actual, int | float | complex):
            return bool(actual == expected)
        return actual == expected or self._within(actual, expected)

    def _within(self, actual: complex, expected: complex) -> bool:
        tolerance = max(self.abs if self.abs is not None else 1e-12, self._relative() * abs(expected))
        return math.isfinite(abs(expected)) and abs(actual - expected) <= tolerance

    def _relative(self) -> float:
        if self.rel is not None:
            return self.rel
        return 0.0 if self.abs is not None else 1e-6


def fail(reason: str = "") -> NoReturn:
    """Fail the test."""
    raise AssertionError(reason)


def skip(reason: str = "") -> NoReturn:
    """Leave the test."""
    raise Skipped(reason)


def fixture(function: Test) -> Test:
    """Mark a function as one that makes an argument of the tests."""
    setattr(function, _FIXTURE, True)
    return function


class _Mark:
    """pytest.mark"""

    def parametrize(self, names: str | Iterable[str], values: Iterable[Any]) -> Callable[[Test], Test]:
        listed = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
        rows = [dict(zip(listed, row if len(listed) > 1 else (row,), strict=True)) for row in values]

        def mark(function: Test) -> Test:
            before = getattr(function, _CASES, [{}])
            setattr(function, _CASES, [{**one, **row} for row in rows for one in before])
            return function

        return mark

    def skip(self, function: Test | None = None, *, reason: str = "") -> Any:
        if function is None:
            return self.skip
        setattr(function, _SKIP, True)
        return function

    def __getattr__(self, name: str) -> NoReturn:
        raise Unsupported(f"pytest.mark.{name} is not supported")


SUPPORTED = {"raises", "approx", "fail", "skip", "fixture", "mark"}


def module() -> ModuleType:
    """A module to stand for pytest."""
    shim = ModuleType("pytest")
    vars(shim).update(raises=raises, approx=approx, fail=fail, skip=skip, fixture=fixture, mark=_Mark())
    vars(shim)["__getattr__"] = _missing
    return shim


def _missing(name: str) -> NoReturn:
    if name.startswith("__"):
        raise AttributeError(name)
    raise Unsupported(f"pytest.{name} is not supported")


def run(test: Test, fixtures: dict[str, Test]) -> None:
    """Run a test function once for each of its rows of parameters, with the fixtures that its arguments name.

    Raises:
        Unsupported: an argument is neither.
    """
    for case in getattr(test, _CASES, [{}]):
        finishers: list[Iterator[Any]] = []
        made: dict[str, Any] = {}
        try:
            test(
                **{
                    name: case[name] if name in case else _make(name, fixtures, made, finishers)
                    for name in _arguments(test)
                }
            )
        finally:
            for finisher in reversed(finishers):
                next(finisher, None)


def _arguments(function: Test) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.default is parameter.empty]


def _make(name: str, fixtures: dict[str, Test], made: dict[str, Any], finishers: list[Iterator[Any]]) -> Any:
    if name not in fixtures:
        raise Unsupported(f"the tests use a fixture {name} that they do not define")
    if name not in made:
        value = fixtures[name](**{need: _make(need, fixtures, made, finishers) for need in _arguments(fixtures[name])})
        if inspect.isgeneratorfunction(fixtures[name]):
            finishers.append(value)
            value = next(value)
        made[name] = value
    return made[name]


def is_fixture(value: object) -> bool:
    return getattr(value, _FIXTURE, False) is True
