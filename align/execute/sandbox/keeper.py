"""A program's objects, on its own side: kept by number for the tester, which has stand-ins for them (`handles`).

Says what the program has under a name, does operations on its objects. Does not talk (`remote` does).
"""

import builtins
import operator
from collections.abc import Callable
from itertools import islice
from typing import Any

Token = list[Any]
Export = list[Any]
"""What a program has under a name: ["function"], ["constant"], ["exception", names of it and its bases] or
["class", operators]."""

MAX_ITEMS = 100_000
"""Items of an iteration that are fetched."""


def _items(value: Any) -> list[Any]:
    return list(islice(iter(value), MAX_ITEMS))


READS: dict[str, Callable[..., Any]] = {
    "__str__": str,
    "__repr__": repr,
    "__len__": len,
    "__iter__": _items,
    "__next__": next,
    "__contains__": operator.contains,
    "__getitem__": operator.getitem,
    "__setitem__": operator.setitem,
    "__delitem__": operator.delitem,
    "__bool__": bool,
    "__hash__": hash,
    "__call__": lambda value, *args, **kwargs: value(*args, **kwargs),
}
"""Operators that the tests spell out; their operands may be plain data."""
UNARY: dict[str, Callable[..., Any]] = {
    "__abs__": abs,
    "__neg__": operator.neg,
    "__pos__": operator.pos,
    "__invert__": operator.invert,
}
"""What they give must be an object of the program again."""
_COMPARE = ("eq", "ne", "lt", "le", "gt", "ge")
_ARITHMETIC = (
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and_",
    "or_",
    "xor",
    "lshift",
    "rshift",
)
BINARY: dict[str, Callable[..., Any]] = {
    f"__{name.rstrip('_')}__": getattr(operator, name) for name in (*_COMPARE, *_ARITHMETIC)
}
"""Operators between two objects of the program."""
OPERATORS = {**READS, **UNARY, **BINARY}


class Keeper:
    """The objects that the program's tester knows by number.

    Args:
        space: the program's globals.
    """

    def __init__(self, space: dict[str, Any]) -> None:
        self.space = space
        self.classes: tuple[type, ...] = ()
        self._names: dict[int, str] = {}
        self._kept: list[object] = []
        self._numbers: dict[int, int] = {}

    def exports(self, names: list[str]) -> dict[str, Export]:
        """What the program has under the names that the tests import. From now on objects are kept."""
        found = {name: self.space[name] for name in names if name in self.space}
        self.classes = tuple(value for value in found.values() if isinstance(value, type))
        self._names = {id(value): name for name, value in found.items() if callable(value)}
        return {name: describe(value) for name, value in found.items()}

    def refer(self, value: object) -> Token | None:
        """The token of an object, None where it is nothing that the tests could use."""
        if isinstance(value, _Kept):
            value = value.value
        if id(value) in self._names:
            return ["name", self._names[id(value)]]
        if not self.classes or isinstance(value, type):
            return None
        if isinstance(value, _Method):
            return ["method"]
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._kept)
            self._kept.append(value)
        return ["object", self._numbers[id(value)], self._kind(value)]

    def _kind(self, value: object) -> str:
        names = (self._names.get(id(kind)) for kind in type(value).__mro__)
        return next((name for name in names if name is not None), type(value).__name__)

    def find(self, token: Token) -> object:
        match token:
            case ["name", name]:
                return self.space.get(name)
            case ["object", number]:
                return self._kept[number]
        return None

    def operate(self, operation: str, args: list[Any], kwargs: dict[str, Any]) -> object:
        """Do one operation on an object and present what comes of it."""
        if operation == "method":
            owner, name, *rest = args
            return getattr(owner, name)(*rest, **kwargs)
        if operation == "getattr":
            value = getattr(*args)
            return _Method() if callable(value) and not isinstance(value, type) else value
        if operation in ("setattr", "delattr"):
            return getattr(builtins, operation)(*args)
        return OPERATORS[operation](*args, **kwargs)

    def present(self, value: object) -> object:
        """An object of a class of the tests stays what it is, even where its class derives from a list."""
        return _Kept(value) if self.classes and isinstance(value, self.classes) else value


def describe(value: object) -> Export:
    """What kind of thing a program has under a name."""
    if isinstance(value, type) and issubclass(value, BaseException):
        return ["exception", [base.__name__ for base in value.__mro__]]
    if isinstance(value, type):
        return ["class", [name for name in OPERATORS if _defines(value, name)]]
    return ["function"] if callable(value) else ["constant"]


def _defines(kind: type, name: str) -> bool:
    found = getattr(kind, name, None)
    return found is not None and found is not getattr(object, name, None)


class _Kept:
    def __init__(self, value: object) -> None:
        self.value = value


class _Method:
    pass
