"""Say whether what a program returned or printed is what was expected. Plain data only; runs nothing of the program's.

Values of `calls`, where `out` is what came back, and a comparison that raises is a difference:

| comparator | out is right where |
|---|---|
| `equal` | `out == expected`; with a tolerance also where the two are close |
| `json` | the same, tuples and what an iterator gives counting as lists (LiveCodeBench, QuixBugs) |
| `apps` | as `json`, with `expected` or, where that is a list, with its first item (APPS, TACO) |
| `set` | `set(out) == set(expected)` (MBPP 2, 7, 111, 140, 232, 249, 579, 769) |
| `not_none` | both are None or neither is; a bool must be whether `expected` is not None (MBPP: values of no JSON) |
| `returns` | always: the call returned (MBPP 164, whose reference is no better than a guess) |
| `or_zero` | equal, or 0 (MBPP 295) |
| `surface_area` | equal, or a pyramid's surface by its perpendicular height, within the tolerance (MBPP 581) |
| `digit_distance` | equal, or the digits' distance of both numbers padded with zeros (MBPP 558) |
| `find_zero` | it is a root of the polynomial `args[0]`, within the tolerance (HumanEval 32) |

These are EvalPlus's rules (`evalplus/eval/__init__.py`, 0.3.1). Close is its float rule: no tolerance (None) compares
exactly; 0 becomes 1e-6 where `expected` is a float or a list of floats; the types must be the same, and every number
within `atol + 1e-7 * |expected|`. One thing differs: EvalPlus keeps the 1e-6 for a problem's later calls.

Output of `io` is compared whole: see `same_output`.
"""

import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

RELATIVE = 1e-7
"""numpy's `assert_allclose`, which EvalPlus follows."""
LEAST = 1e-6
"""Absolute tolerance of floats where a problem has none."""

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_WHOLE = re.compile(r"[+-]?\d+")


def same(compare: str, args: Sequence[Any], expected: Any, got: Any, atol: float | None) -> bool:
    """Whether a call gave the right value.

    Args:
        compare: name of the comparator.
        args: what the call was given; it may have been changed by nobody since.
        expected: the right value.
        got: what the program returned, decoded: never an object of its own.
        atol: absolute tolerance; None compares exactly.

    Raises:
        KeyError: there is no such comparator.
    """
    rule = COMPARATORS[compare]
    try:
        return rule(args, expected, got, atol)
    except Exception:  # any type may meet any other here: what cannot be compared is not the same
        return False


def same_output(expected: str, got: bytes, tolerance: float | None) -> bool:
    """Whether a program printed the right text: all of it and nothing else.

    White space at the end of a line and empty lines at the end do not count. With a tolerance, lines are compared
    word by word: a number may be off by the tolerance, absolute, or relative too where the expected one is no integer.
    """
    wanted, printed = _lines(expected), _lines(got.decode("utf-8", "surrogateescape"))
    if wanted == printed:
        return True
    if tolerance is None or len(wanted) != len(printed):
        return False
    return all(_same_words(one, other, tolerance) for one, other in zip(wanted, printed, strict=True))


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _same_words(expected: str, got: str, tolerance: float) -> bool:
    wanted, printed = expected.split(), got.split()
    if len(wanted) != len(printed):
        return False
    return all(one == other or _near(one, other, tolerance) for one, other in zip(wanted, printed, strict=True))


def _near(expected: str, got: str, tolerance: float) -> bool:
    if not _NUMBER.fullmatch(expected) or not _NUMBER.fullmatch(got):
        return False
    wanted, printed = float(expected), float(got)
    # large integers are counts and ids: relatively near is still wrong
    scale = 1.0 if _WHOLE.fullmatch(expected) else max(1.0, abs(wanted))
    return abs(wanted - printed) <= tolerance * scale


def _equal(args: Sequence[Any], expected: Any, got: Any, atol: float | None) -> bool:
    return _exact(expected, got) or _close(expected, got, atol)


def _json(args: Sequence[Any], expected: Any, got: Any, atol: float | None) -> bool:
    return _equal(args, _listed(expected), _listed(got), atol)


def _apps(args: Sequence[Any], expected: Any, got: Any, atol: float | None) -> bool:
    got = _listed(got)
    wrapped = isinstance(expected, list) and bool(expected)
    return _json(args, expected, got, atol) or (wrapped and _json(args, expected[0], got, atol))


def _set(args: Sequence[Any], expected: Any, got: Any, atol: float | None) -> bool:
    return set(got) == set(expected) or _close(expected, got, atol)


def _not_none(args: Sequence[Any], expected: Any, got: Any, atol: float | None) -> bool:
    exists = expected is not None
    return got is exists if isinstance(got, bool) else exists is (got is not None)


def _returns(args: Sequence[Any], expected: Any, got: Any, atol: float | None) -> bool:
    return True


def _or_zero(args: Sequence[Any], expected: Any, got: Any, atol: float | None) -> bool:
    return _equal(args, expected, got, atol) or _exact(0, got)


def _surface_area(args: Sequence[Any], expected: Any, got: Any, atol: float | None) -> bool:
    base, height = args
    slant = math.sqrt((base / 2) ** 2 + height**2)
    area = round(base**2 + 4 * (base * slant) / 2)
    return _exact(expected, got) or bool(abs(got - area) <= (atol or 0.0)) or _close(expected, got, atol)


def _digit_distance(args: Sequence[Any], expected: Any, got: Any, atol: float | None) -> bool:
    one, other = (str(number) for number in args)
    width = max(len(one), len(other))
    pairs = zip(one.zfill(width), other.zfill(width), strict=True)
    return _equal(args, expected, got, atol) or _exact(sum(abs(int(a) - int(b)) for a, b in pairs), got)


def _find_zero(args: Sequence[Any], expected: Any, got: Any, atol: float | None) -> bool:
    (coefficients,) = args
    return bool(abs(sum(one * math.pow(got, power) for power, one in enumerate(coefficients))) <= (atol or 0.0))


COMPARATORS: dict[str, Callable[[Sequence[Any], Any, Any, float | None], bool]] = {
    "equal": _equal,
    "json": _json,
    "apps": _apps,
    "set": _set,
    "not_none": _not_none,
    "returns": _returns,
    "or_zero": _or_zero,
    "surface_area": _surface_area,
    "digit_distance": _digit_distance,
    "find_zero": _find_zero,
}
"""Name → rule over (args, expected, got, atol)."""


def _exact(expected: Any, got: Any) -> bool:
    numpy = sys.modules.get("numpy")
    if numpy is not None and (isinstance(expected, numpy.ndarray) or isinstance(got, numpy.ndarray)):
        return type(expected) is type(got) and bool(numpy.array_equal(expected, got))
    return bool(got == expected)


def _close(expected: Any, got: Any, atol: float | None) -> bool:
    if atol is None:
        return False
    tolerance = LEAST if atol == 0 and _is_floats(expected) else atol
    return tolerance != 0 and type(got) is type(expected) and _all_close(expected, got, tolerance)


def _is_floats(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(item, float) for item in value)
    return isinstance(value, float) or getattr(getattr(value, "dtype", None), "kind", "") == "f"


def _all_close(expected: Any, got: Any, atol: float) -> bool:
    """numpy's `allclose` on numbers and nested lists of one shape; anything else is not close."""
    if hasattr(expected, "tolist"):
        expected, got = expected.tolist(), got.tolist()
    shape = _shape(expected)
    pairs = zip(_numbers(expected), _numbers(got), strict=True)
    return shape is not None and shape == _shape(got) and all(_one_close(one, other, atol) for one, other in pairs)


def _one_close(expected: Any, got: Any, atol: float) -> bool:
    # two infinities are near each other only where they are the same one
    bound = atol + RELATIVE * abs(expected)
    return bool(got == expected or abs(got - expected) <= bound < math.inf)


def _shape(value: Any) -> tuple[int, ...] | None:
    """Lengths of nested lists, outermost first; None where they differ or hold anything but numbers."""
    if isinstance(value, list | tuple):
        shapes = {_shape(item) for item in value} or {()}
        inner = shapes.pop()
        return None if shapes or inner is None else (len(value), *inner)
    # numpy has no type for larger integers
    fits = isinstance(value, float | complex) or (isinstance(value, int) and -(2**63) <= value < 2**64)
    return () if fits else None


def _numbers(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    else:
        yield value


def _listed(value: Any) -> Any:
    if isinstance(value, list | tuple | Iterator):
        return [_listed(item) for item in value]
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return value
