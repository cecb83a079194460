"""Encode a value: one line of ASCII JSON. Runs no code of exact builtins' owners; iterators run as they are emptied.

Does not read (`codec_read`) and does not describe exceptions (`codec_errors`).
"""

import binascii
import collections
import datetime
import itertools
import json.encoder
import re
import sys
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from types import EllipsisType, NoneType, NotImplementedType
from typing import Any

from .codec_base import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_FRACTION_BITS,
    MAX_NODES,
    OBJECT_NODES,
    SURE_BYTES,
    TYPES,
    CodecError,
    Opaque,
    check,
)

MAX_ITERATED = 100_000
"""Most items taken from an iterator."""
_MAX_NAME, _SHORT = 200, 1_000
_PLAIN_BITS = 64
_SCALARS = frozenset({int, str, float, bool, NoneType})
_UNSIZED = frozenset({float, bool, NoneType})
_STR, _LIST = frozenset({str}), frozenset({list})
_SURROGATES = re.compile("[\ud800-\udfff]")
_TYPE_NAMES = {found: name for name, found in TYPES.items()}
_ARRAY_KINDS = frozenset("biufcSUmM")
# a metaclass may lie about these
_mro, _name = type.__dict__["__mro__"].__get__, type.__dict__["__name__"].__get__
_dict, _module = type.__dict__["__dict__"].__get__, type.__dict__["__module__"].__get__

Refer = Callable[[object], Any]


def _unknown(value: object) -> object:
    raise TypeError(f"{type(value)} left in plain data")


# made once: json.dumps makes one a call, which costs more than a short list does
_json = json.encoder.c_make_encoder(  # type: ignore[attr-defined]
    None, _unknown, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, True
)


def dumps(value: object, refer: Refer | None = None) -> bytes:
    """Encode a value as one line of ASCII JSON, without its newline.

    Args:
        value: what to encode.
        refer: asked for a JSON-able token for each object that is no plain data; None makes it an `Opaque`.

    Raises:
        CodecError: too large, nested too deep, cyclic, or an endless iterator.
        BaseException: whatever an iterator raises while it is emptied.
    """
    # a short list of scalars needs no walk
    if type(value) is not list or len(value) > _SHORT or _characters(value) is None:
        value = _Writer(refer).plain(value, 0)
    data = "".join(_json(value, 0)).encode("ascii")
    if len(data) > SURE_BYTES:
        check(data)
    return data


def _characters(items: list[Any] | tuple[Any, ...]) -> int | None:
    """Length of all strings among the items, None unless all items are scalars that JSON keeps as they are."""
    kinds = set(map(type, items))
    if not kinds <= _SCALARS:
        return None
    if int in kinds:
        numbers = items if len(kinds) == 1 else [item for item in items if type(item) is int]
        if max(map(int.bit_length, numbers)) > _PLAIN_BITS:
            return None
    return _length(items if len(kinds) == 1 else [item for item in items if type(item) is str]) if str in kinds else 0


def _length(texts: list[str] | tuple[str, ...]) -> int | None:
    """Length of all strings, None where one has surrogates."""
    size = sum(map(len, texts))
    if size > MAX_BYTES:
        raise CodecError(f"larger than {MAX_BYTES:,} bytes")
    joined = "".join(texts)
    return size if joined.isascii() or not _SURROGATES.search(joined) else None


class _Writer:
    """The walk through one value: copies what is no plain JSON, stops where it gets too large."""

    __slots__ = ("_nodes", "_refer", "_room")

    def __init__(self, refer: Refer | None) -> None:
        self._refer = refer
        self._room = MAX_BYTES
        self._nodes = MAX_NODES

    def plain(self, value: Any, depth: int) -> Any:
        """The value as what JSON can say; exact lists and dicts of scalars are not copied."""
        kind = type(value)
        if kind in _UNSIZED:
            return value
        if kind is list:
            return self.items(value, depth)
        write = _WRITERS.get(kind)
        return write(self, value, depth) if write else self._uncommon(value, depth)

    def _uncommon(self, value: Any, depth: int) -> Any:
        """Numpy's, subclasses of what is known, classes, iterators, and the rest."""
        if (found := self._numpy(value)) is not None:
            return found
        kind = type(value)
        for base in _mro(kind):
            if base in _WRITERS:
                return _WRITERS[base](self, value, depth)
        if kind is type and value in _TYPE_NAMES:
            return {"$type": _TYPE_NAMES[value]}
        iterates = any("__next__" in _dict(base) for base in _mro(kind))
        if iterates and _module(kind) in ("builtins", "itertools"):
            return self.iterator(value, depth)
        token = self._refer(value) if self._refer else None
        if token is not None:
            return {"$r": token}
        return self.iterator(value, depth) if iterates else self.opaque(_name(kind))

    def _spend(self, size: int, nodes: int) -> None:
        self._room -= size
        self._nodes -= nodes
        if self._room < 0 or self._nodes < 0:
            raise CodecError(f"larger than {MAX_BYTES:,} bytes or {MAX_NODES:,} items")

    def items(self, items: list[Any] | tuple[Any, ...], depth: int) -> list[Any] | tuple[Any, ...]:
        """A list or tuple as a JSON list."""
        if depth >= MAX_DEPTH:
            raise CodecError(f"nested deeper than {MAX_DEPTH}, or it holds itself")
        characters = _characters(items)
        self._spend((characters or 0) + 2 * len(items), len(items) + 1)
        if characters is not None:
            return items
        plain, depth = self.plain, depth + 1
        if depth < MAX_DEPTH and self._grid(items):
            return items
        return [plain(item, depth) for item in items]

    def _grid(self, rows: list[Any] | tuple[Any, ...]) -> bool:
        """Whether all items are lists of scalars that JSON keeps: looked at all at once, not row by row."""
        if set(map(type, rows)) != _LIST or (nodes := sum(map(len, rows)) + len(rows)) > self._nodes:
            return False
        characters = _characters([*itertools.chain.from_iterable(rows)])
        if characters is None:
            return False
        self._spend(characters + 2 * nodes, nodes)
        return True

    def tagged(self, tag: str, items: Iterable[Any], depth: int) -> dict[str, Any]:
        """An object with one key, holding a list."""
        self._nodes -= OBJECT_NODES
        return {tag: self.items(items if type(items) is tuple else list(items), depth)}

    def integer(self, value: int, depth: int) -> Any:
        """An int; one too long for JSON as hexadecimal text, which needs no quadratic time."""
        value = int.__int__(value)
        if value.bit_length() <= _PLAIN_BITS:
            return value
        self._spend(value.bit_length() // 4, OBJECT_NODES)
        return {"$i": f"{value:x}"}

    def text(self, value: str, depth: int) -> Any:
        """A str; one with lone surrogates as its bytes, as JSON may join two of them."""
        value = str.__str__(value)
        self._spend(len(value), 0)
        if value.isascii() or not _SURROGATES.search(value):
            return value
        self._nodes -= OBJECT_NODES
        return {"$u": value.encode("utf-8", "surrogatepass").hex()}

    def mapping(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        """An exact dict, or a subclass as one."""
        keys, values = list(dict.keys(value)), list(dict.values(value))
        size = _length(keys) if set(map(type, keys)) <= _STR else None
        if size is None or "$" in "".join(keys):
            return self.pairs("$d", value, depth)
        self._spend(size, OBJECT_NODES)
        plain = self.items(values, depth)
        return value if plain is values and type(value) is dict else dict(zip(keys, plain, strict=True))

    def pairs(self, tag: str, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        """Keys and values of a dict, in turn."""
        return self.tagged(tag, itertools.chain.from_iterable(dict.items(value)), depth)

    def iterator(self, value: Any, depth: int) -> dict[str, Any]:
        """What an iterator still yields."""
        found = list(itertools.islice(value, MAX_ITERATED + 1))
        if len(found) > MAX_ITERATED:
            raise CodecError(f"an iterator with more than {MAX_ITERATED:,} items")
        return self.tagged("$it", found, depth)

    def binary(self, tag: str, value: bytes | bytearray) -> dict[str, Any]:
        """Bytes as base64."""
        self._spend(len(value), OBJECT_NODES)
        return {tag: binascii.b2a_base64(value, newline=False).decode("ascii")}

    def fraction(self, value: Fraction, depth: int) -> dict[str, Any]:
        """A Fraction by its two ints."""
        parts = int.__int__(value.numerator), int.__int__(value.denominator)
        if max(map(int.bit_length, parts)) > MAX_FRACTION_BITS:
            raise CodecError(f"a fraction of more than {MAX_FRACTION_BITS:,} bits")
        return self.tagged("$fr", parts, depth)

    def opaque(self, name: str) -> dict[str, Any]:
        """A stand-in for what has no plain form."""
        self._spend(0, OBJECT_NODES)
        return {"$o": self.text(name[:_MAX_NAME], 0)}

    def _numpy(self, value: Any) -> dict[str, Any] | None:
        """Numpy's arrays and scalars, if the program has loaded it; None for anything else."""
        numpy = sys.modules.get("numpy")
        if numpy is None or not isinstance(value, (numpy.ndarray, numpy.generic)):
            return None
        if value.dtype.kind not in _ARRAY_KINDS or not value.dtype.itemsize:
            return None
        self._spend(value.nbytes, OBJECT_NODES + value.ndim)
        content = binascii.b2a_base64(value.tobytes(), newline=False).decode("ascii")
        shape = value.shape if isinstance(value, numpy.ndarray) else ()
        tag = "$nd" if isinstance(value, numpy.ndarray) else "$ns"
        return {tag: [value.dtype.str, content, *shape]}


def _moment(value: datetime.datetime) -> list[Any]:
    offset = datetime.datetime.utcoffset(value)
    clock = [value.hour, value.minute, value.second, value.microsecond, value.fold]
    return [value.year, value.month, value.day, *clock, None if offset is None else _microseconds(offset)]


def _clock(value: datetime.time) -> list[Any]:
    offset = datetime.time.utcoffset(value)
    clock = [value.hour, value.minute, value.second, value.microsecond, value.fold]
    return [*clock, None if offset is None else _microseconds(offset)]


def _microseconds(value: datetime.timedelta) -> int:
    return value // datetime.timedelta(microseconds=1)


_WRITERS: dict[type, Callable[[_Writer, Any, int], Any]] = {
    int: _Writer.integer,
    str: _Writer.text,
    float: lambda writer, value, depth: float.__float__(value),
    list: lambda writer, value, depth: writer.items([*list.__iter__(value)], depth),
    tuple: lambda writer, value, depth: writer.tagged(
        "$t", value if type(value) is tuple else tuple.__iter__(value), depth
    ),
    dict: _Writer.mapping,
    set: lambda writer, value, depth: writer.tagged("$s", set.__iter__(value), depth),
    frozenset: lambda writer, value, depth: writer.tagged("$fs", frozenset.__iter__(value), depth),
    bytes: lambda writer, value, depth: writer.binary("$b", value),
    bytearray: lambda writer, value, depth: writer.binary("$ba", value),
    complex: lambda writer, value, depth: writer.tagged("$c", (value.real, value.imag), depth),
    range: lambda writer, value, depth: writer.tagged("$range", (value.start, value.stop, value.step), depth),
    slice: lambda writer, value, depth: writer.tagged("$slice", (value.start, value.stop, value.step), depth),
    EllipsisType: lambda writer, value, depth: {"$x": "Ellipsis"},
    NotImplementedType: lambda writer, value, depth: {"$x": "NotImplemented"},
    collections.deque: lambda writer, value, depth: writer.tagged(
        "$deque", (value.maxlen, *collections.deque.__iter__(value)), depth
    ),
    collections.OrderedDict: lambda writer, value, depth: writer.pairs("$od", value, depth),
    collections.defaultdict: lambda writer, value, depth: writer.pairs("$dd", value, depth),
    collections.Counter: lambda writer, value, depth: writer.pairs("$counter", value, depth),
    type({}.keys()): lambda writer, value, depth: writer.tagged("$keys", value, depth),
    type({}.values()): lambda writer, value, depth: writer.tagged("$values", value, depth),
    type({}.items()): lambda writer, value, depth: writer.tagged("$items", itertools.chain.from_iterable(value), depth),
    Decimal: lambda writer, value, depth: {"$dec": writer.text(Decimal.__str__(value), depth)},
    Fraction: _Writer.fraction,
    datetime.datetime: lambda writer, value, depth: writer.tagged("$datetime", _moment(value), depth),
    datetime.date: lambda writer, value, depth: writer.tagged("$date", (value.year, value.month, value.day), depth),
    datetime.time: lambda writer, value, depth: writer.tagged("$time", _clock(value), depth),
    datetime.timedelta: lambda writer, value, depth: writer.tagged(
        "$timedelta", (value.days, value.seconds, value.microseconds), depth
    ),
    Opaque: lambda writer, value, depth: writer.opaque(value.name),
}
