"""Stand-ins in the tester for a program's objects, which stay with the program (`keeper`).

Only classes that the tests import by name have full stand-ins: constructing, methods, attributes, and the operators
that the class defines. An operator that joins a stand-in with plain data is never answered by the program: `==` is
False and arithmetic a TypeError, or an object that is equal to everything would pass every test. No subclassing and
no `with`. Does not talk (`remote` does).
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any, Protocol

from .codec import Opaque
from .keeper import BINARY, READS, UNARY, Export, Token

MAX_OBJECTS = 100_000
_TYPES = {str: "__str__ __repr__", int: "__len__ __hash__", bool: "__bool__ __contains__", list: "__iter__"}
_RESULTS = {name: kind for kind, names in _TYPES.items() for name in names.split()}
_PLAIN = {
    name
    for kind in (int, float, complex, str, bytes, list, tuple, dict, set, range, datetime, timedelta, Decimal, Fraction)
    for name in dir(kind)
}
"""Attributes that plain data has."""


class Asking(Protocol):
    """How a stand-in reaches its program."""

    def __call__(self, *request: Any) -> Any: ...


class Foreign:
    """An object of the program of a class that the tests do not import: equal to nothing, like an `Opaque`.

    It can be handed back, and its attributes and methods be used as far as no plain type has such: a test that asks
    for `count` or `year` expects plain data, of which every answer must agree with every other.
    """

    def __init__(self, number: int, kind: str, ask: Asking) -> None:
        self._align_number = number
        self._align_kind = kind
        self._align_ask = ask

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<{self._align_kind} object>"

    def __getattr__(self, name: str) -> Any:
        if name in _PLAIN:
            raise AttributeError(f"the program's object has no attribute {name!r} here", name=name, obj=self)
        return _attribute(self._align_ask, self, name)


METHOD = Opaque("method")
"""Stands for an attribute that can be called."""


class Handle:
    """An object of the program of a class that the tests import. Subclasses have the operators of their class."""

    __slots__ = ("_align_ask", "_align_number")
    _align_ask: Asking
    _align_number: int

    def __getattr__(self, name: str) -> Any:
        return _attribute(self._align_ask, self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._align_ask("operate", "setattr", [self, name, value], {})

    def __delattr__(self, name: str) -> None:
        self._align_ask("operate", "delattr", [self, name], {})


class ClassProxy(type):
    """A class of the program: calling it constructs there, its attributes are looked up there."""

    _align_class_ask: Asking

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls._align_class_ask("call", cls.__name__, list(args), kwargs)

    def __getattr__(cls, name: str) -> Any:
        return _attribute(cls._align_class_ask, cls, name)


def _attribute(ask: Asking, owner: object, name: str) -> Any:
    if name.startswith("__") and name.endswith("__"):
        # unittest, copy and the codec probe for these
        raise AttributeError(f"no attribute {name!r} here", name=name, obj=owner)
    value = ask("operate", "getattr", [owner, name], {})
    return partial(_call_method, ask, owner, name) if value is METHOD else value


def _call_method(ask: Asking, owner: object, name: str, /, *args: Any, **kwargs: Any) -> Any:
    return ask("operate", "method", [owner, name, *args], kwargs)


class Objects:
    """The program's objects that the tester knows: what a `Remote` adopts and refers to.

    Args:
        exports: what the tests import, by name.
        ask: sends a request to the program.
    """

    def __init__(self, exports: dict[str, Export], ask: Asking) -> None:
        self.ask = ask
        self.named: dict[str, Any] = {}
        self.classes = {
            name: _make_class(name, export[1], ask) for name, export in exports.items() if export[0] == "class"
        }
        self._known: dict[int, object] = {}
        self._names: dict[int, str] = {}
        for name, proxy in self.classes.items():
            self.name(name, proxy)

    def name(self, name: str, proxy: object) -> None:
        """Make `proxy` stand for what the program calls `name`."""
        self.named[name] = proxy
        self._names[id(proxy)] = name

    def adopt(self, token: Token) -> object:
        match token:
            case ["name", str(name)]:
                return self.named.get(name)
            case ["method"]:
                return METHOD
            case ["object", int(number), str(kind)]:
                return self._object(number, kind)
        return None

    def refer(self, value: object) -> Token | None:
        if isinstance(value, Foreign) or isinstance(type(value), ClassProxy):
            return ["object", value._align_number]  # type: ignore[attr-defined]
        name = self._names.get(id(value))
        return None if name is None else ["name", name]

    def _object(self, number: int, kind: str) -> object:
        if number not in self._known:
            if not self.classes or len(self._known) >= MAX_OBJECTS:
                return None
            self._known[number] = self._make(number, kind)
        return self._known[number]

    def _make(self, number: int, kind: str) -> object:
        if kind not in self.classes:
            return Foreign(number, kind[:80], self.ask)
        kept: Any = self.classes[kind]
        handle = object.__new__(kept)
        object.__setattr__(handle, "_align_ask", self.ask)
        object.__setattr__(handle, "_align_number", number)
        return handle


def _make_class(name: str, operators: Iterable[str], ask: Asking) -> ClassProxy:
    body: dict[str, Any] = {"__slots__": (), "__module__": "program"}
    for operation in operators:
        if operation in READS:
            body[operation] = _read(operation)
        elif operation in UNARY:
            body[operation] = _unary(operation)
        elif operation in BINARY:
            body[operation] = _binary(operation)
    if "__len__" in body:
        body.setdefault("__bool__", _read("__bool__"))
    if "__eq__" in body:
        body.setdefault("__hash__", None)
    proxy = ClassProxy(name, (Handle,), body)
    proxy._align_class_ask = ask
    return proxy


def _read(operation: str) -> Callable[..., Any]:
    kind: Any = _RESULTS.get(operation, object)

    def forward(self: Handle, *args: Any, **kwargs: Any) -> Any:
        value = self._align_ask("operate", operation, [self, *args], kwargs)
        if not isinstance(value, kind):
            raise TypeError(f"{operation} returned {type(value).__name__}")
        return iter(value) if kind is list else value

    return forward


def _unary(operation: str) -> Callable[[Handle], Any]:
    def forward(self: Handle) -> Any:
        value = self._align_ask("operate", operation, [self], {})
        if not isinstance(value, Handle):
            raise TypeError(f"{operation} of an object of the program gives plain data: not supported")
        return value

    return forward


def _binary(operation: str) -> Callable[[Handle, object], Any]:
    def forward(self: Handle, other: object) -> Any:
        if not isinstance(other, Handle):
            return NotImplemented
        value = self._align_ask("operate", operation, [self, other], {})
        return value is True if operation in ("__eq__", "__ne__") else value

    return forward
