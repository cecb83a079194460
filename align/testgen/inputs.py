"""Propose calls of a function: those that were seen, and small changes of these by the types of their arguments.

Values stay within what was seen: no negative number where none was, nothing empty where nothing was. Whether a call is
meaningful is not known here. Runs nothing.
"""

import ast
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

LONGEST = 500
"""Characters of a call that is proposed."""
ATTEMPTS = 20
"""Draws for one changed call."""


@dataclass(frozen=True)
class Call:
    """A call with literal arguments."""

    function: str
    args: tuple[Any, ...]
    keywords: tuple[tuple[str, Any], ...] = ()

    @property
    def source(self) -> str:
        """The call as source."""
        given = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.keywords)]
        return f"{self.function}({', '.join(given)})"

    @property
    def shape(self) -> tuple[str, ...]:
        """The types of its arguments, with the names of those that are given by name."""
        return (*map(_type, self.args), *(f"{name}={_type(value)}" for name, value in self.keywords))


def read_call(source: str) -> Call | None:
    """The call that an expression is; None where it is none of a name with literal arguments."""
    try:
        tree = ast.parse(source, mode="eval").body
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
            return None
        if any(keyword.arg is None for keyword in tree.keywords):
            return None
        args = tuple(ast.literal_eval(value) for value in tree.args)
        keywords = tuple((keyword.arg or "", ast.literal_eval(keyword.value)) for keyword in tree.keywords)
        return Call(tree.func.id, args, keywords)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return None


def propose(
    seen: Sequence[Call],
    trusted: Iterable[Call] = (),
    *,
    without: Collection[str] = (),
    most: int = 40,
    seed: int | str = 0,
) -> list[Call]:
    """Calls for which no value is known: at most half of them as they were seen, the others changed.

    Args:
        seen: calls with their repeats; what was written most often comes first.
        trusted: calls whose types are right for sure, such as those of examples; without any, the commonest types are
            taken for right.
        without: calls that are left out, as source.
        most: how many at most.
        seed: of the draw.
    """
    shapes = {call.shape for call in trusted} or {shape for shape, _ in Counter(map(_shape, seen)).most_common(1)}
    counted = Counter(call.source for call in seen if call.shape in shapes)
    by_source = {call.source: call for call in seen}
    fitting = [by_source[source] for source, _ in counted.most_common() if _is_plain(source)]
    found = {call.source: call for call in [call for call in fitting if call.source not in without][: most // 2]}
    random = Random(f"inputs|{seed}")
    bounds = Bounds.of(fitting)
    for _ in range(ATTEMPTS * most if fitting else 0):
        if len(found) >= most:
            break
        call = _changed(fitting, bounds, random)
        if call.shape in shapes and call.source not in without and _is_plain(call.source):
            found.setdefault(call.source, call)
    return list(found.values())


@dataclass(frozen=True)
class Bounds:
    """What the values of calls have in common."""

    least: float
    """No number is below it."""
    empty: bool
    """Whether a text or a container may be empty."""

    @classmethod
    def of(cls, calls: Iterable[Call]) -> "Bounds":
        """Of all values in the calls, also of those inside others."""
        values = [inner for call in calls for value in _given(call) for inner in _inside(value)]
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        low = min(numbers, default=0)
        return cls(low if low >= 0 else float("-inf"), any(isinstance(value, _SIZED) and not value for value in values))


_SIZED = (str, bytes, list, tuple, dict, set)


def _is_plain(source: str) -> bool:
    # an infinite number is no literal
    return len(source) <= LONGEST and read_call(source) is not None


def _given(call: Call) -> list[Any]:
    return [*call.args, *(value for _, value in call.keywords)]


def _inside(value: Any) -> Iterable[Any]:
    yield value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _inside(key)
            yield from _inside(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from _inside(item)


def _shape(call: Call) -> tuple[str, ...]:
    return call.shape


def _type(value: object) -> str:
    return type(value).__name__


def _changed(calls: Sequence[Call], bounds: Bounds, random: Random) -> Call:
    """A call with one argument changed, or taken from another call of the same shape."""
    call = random.choice(calls)
    values = _given(call)
    if not values:
        return call
    place = random.randrange(len(values))
    others = [_given(other)[place] for other in calls if other.shape == call.shape]
    # with one argument another call's would be that call
    swap = len(values) > 1 and random.random() < 0.3
    values[place] = random.choice(others) if swap else changed(values[place], bounds, random)
    names = [name for name, _ in call.keywords]
    count = len(call.args)
    return Call(call.function, tuple(values[:count]), tuple(zip(names, values[count:], strict=True)))


def changed(value: Any, bounds: Bounds, random: Random) -> Any:
    """A value of the same type, a little different; the value itself where its type is not known, or bounds forbid."""
    match value:
        case bool():
            return not value
        case int():
            return _within(random.choice((value + 1, value - 1, -value, 2 * value, value // 2)), value, bounds)
        case float():
            return _within(random.choice((value + 1, value - 1, -value, 2 * value, value / 2)), value, bounds)
        case str():
            return "".join(_rearranged(list(value), _other_letter, bounds, random))
        case list():
            return _rearranged(value, lambda item: changed(item, bounds, random), bounds, random)
        case tuple():
            # its length may be what it means: only what stands in it changes
            places = list(value)
            if places:
                place = random.randrange(len(places))
                places[place] = changed(places[place], bounds, random)
            return tuple(places)
        case dict() if value:
            key = random.choice(list(value))
            return {**value, key: changed(value[key], bounds, random)}
    return value


def _within(number: float, old: float, bounds: Bounds) -> float:
    return number if number >= bounds.least else old


def _other_letter(letter: str) -> str:
    return letter.swapcase() if letter.swapcase() != letter else letter


def _rearranged(items: list[Any], other: Callable[[Any], Any], bounds: Bounds, random: Random) -> list[Any]:
    """The items with one left out, repeated, moved or changed."""
    if not items:
        return items
    place, target = random.randrange(len(items)), random.randrange(len(items))
    left = [*items[:place], *items[place + 1 :]]
    match random.randrange(4):
        case 0:
            return left if left or bounds.empty else items
        case 1:
            return [*items[: target + 1], items[place], *items[target + 1 :]]
        case 2:
            return [*left[:target], items[place], *left[target:]]
        case _:
            return [*items[:place], other(items[place]), *items[place + 1 :]]
