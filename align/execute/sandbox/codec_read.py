"""Decode a value from bytes that nobody vouches for: any input gives a value or `CodecError`.

Takes bounded memory and time. Runs nothing of what it reads; imports nothing but numpy. Does not write (`codec_write`).
"""

import binascii
import collections
import datetime
import json
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from .codec_base import MAX_FRACTION_BITS, SURE_BYTES, TYPES, CodecError, Opaque, check

_MAX_PROBES = 20_000_000
_MANY_KEYS = 1_000
_CONSTANTS = {"Ellipsis": ..., "NotImplemented": NotImplemented}
_DTYPE = re.compile(r"[<>|=][biufcSUmM]\d{1,9}(\[\d{0,9}[A-Za-z]{1,2}\])?")

Resolve = Callable[[Any], object]


def loads(data: bytes, resolve: Resolve | None = None) -> Any:
    """Decode a line written by `dumps`, with or without its newline.

    Args:
        data: the line.
        resolve: gives the object that a token of `refer` stands for; without it no token is taken.

    Raises:
        CodecError: it is no encoded value, whatever else it may be.
    """
    if len(data) > SURE_BYTES:
        check(data)
    scan = _scan if resolve is None or b'"$r"' not in data else _scanner(_resolving(resolve))
    try:
        value, end = scan(data.decode("ascii"), 0)
    # the input is a stranger's: whatever it makes a constructor raise means that it is no encoded value
    except Exception as error:
        raise CodecError(f"no encoded value: {type(error).__name__}: {str(error)[:200]}") from None
    if end != len(data) and data[end:].strip():
        raise CodecError("no encoded value: something follows it")
    return value


def _scanner(hook: Callable[[dict[str, Any]], object]) -> Callable[[str, int], tuple[Any, int]]:
    return json.JSONDecoder(object_hook=hook).scan_once  # type: ignore[attr-defined, no-any-return]


def _untag(found: dict[str, Any]) -> object:
    """A JSON object, read: a dict, or the value that its one "$…" key says."""
    if len(found) == 1:
        [(tag, payload)] = found.items()
        if tag[:1] == "$":
            return _READERS[tag](payload)
    return found


def _resolving(resolve: Resolve) -> Callable[[dict[str, Any]], object]:
    return lambda found: resolve(found["$r"]) if len(found) == 1 and "$r" in found else _untag(found)


_scan = _scanner(_untag)


def _a(kind: type, value: Any) -> Any:
    """The value, if it is exactly of this type."""
    if type(value) is not kind:
        raise CodecError(f"{type(value).__name__} where {kind.__name__} belongs")
    return value


def _ints(payload: Any) -> list[int]:
    return [_a(int, item) for item in _a(list, payload)]


def _hashed(items: Iterable[Any]) -> list[Any]:
    """The items, if they can be keys of one table without most of them falling into one place."""
    found = list(items)
    if len(found) > _MANY_KEYS:
        places = collections.Counter(map(hash, found))
        if sum(count * count for count in places.values()) > _MAX_PROBES:
            raise CodecError("keys made to collide")
    return found


def _pairs(payload: Any) -> Iterable[tuple[Any, Any]]:
    items = _a(list, payload)
    return zip(_hashed(items[::2]), items[1::2], strict=True)


def _integer(payload: Any) -> int:
    return int(_a(str, payload), 16)


def _text(payload: Any) -> str:
    return bytes.fromhex(_a(str, payload)).decode("utf-8", "surrogatepass")


def _bytes(payload: Any) -> bytes:
    return binascii.a2b_base64(_a(str, payload), strict_mode=True)


def _complex(payload: Any) -> complex:
    real, imag = _a(list, payload)
    return complex(_a(float, real), _a(float, imag))


def _range(payload: Any) -> range:
    start, stop, step = _ints(payload)
    return range(start, stop, step)


def _slice(payload: Any) -> slice:
    start, stop, step = _a(list, payload)
    return slice(start, stop, step)


def _deque(payload: Any) -> collections.deque[Any]:
    longest, *items = _a(list, payload)
    return collections.deque(items, None if longest is None else _a(int, longest))


def _counter(payload: Any) -> collections.Counter[Any]:
    return collections.Counter(dict(_pairs(payload)))


def _values(payload: Any) -> Any:
    return dict(enumerate(_a(list, payload))).values()


def _decimal(payload: Any) -> Decimal:
    return Decimal(_a(str, payload))


def _fraction(payload: Any) -> Fraction:
    numerator, denominator = _ints(payload)
    if max(numerator.bit_length(), denominator.bit_length()) > MAX_FRACTION_BITS:
        raise CodecError("a fraction too long to reduce")
    return Fraction(numerator, denominator)


def _zone(offset: int | None) -> datetime.timezone | None:
    return None if offset is None else datetime.timezone(datetime.timedelta(microseconds=_a(int, offset)))


def _datetime(payload: Any) -> datetime.datetime:
    *parts, fold, offset = _a(list, payload)
    year, month, day, hour, minute, second, micro = _ints(parts)
    zone = _zone(offset)
    return datetime.datetime(year, month, day, hour, minute, second, micro, zone, fold=_a(int, fold))


def _date(payload: Any) -> datetime.date:
    year, month, day = _ints(payload)
    return datetime.date(year, month, day)


def _time(payload: Any) -> datetime.time:
    *parts, fold, offset = _a(list, payload)
    hour, minute, second, micro = _ints(parts)
    return datetime.time(hour, minute, second, micro, _zone(offset), fold=_a(int, fold))


def _timedelta(payload: Any) -> datetime.timedelta:
    days, seconds, micro = _ints(payload)
    return datetime.timedelta(days, seconds, micro)


def _array(payload: Any) -> Any:
    """A numpy array, or an `Opaque` where numpy is not installed."""
    kind, content, *shape = _a(list, payload)
    if not _DTYPE.fullmatch(_a(str, kind)):
        raise CodecError("no dtype of plain data")
    found = _bytes(content)
    try:
        import numpy
    except ImportError:
        return Opaque("ndarray")
    dtype = numpy.dtype(kind)
    if any(size < 0 for size in _ints(shape)) or not dtype.itemsize:
        raise CodecError("no shape")
    return numpy.frombuffer(found, dtype).reshape(shape).copy()


def _scalar(payload: Any) -> Any:
    found = _array(_a(list, payload)[:2])
    return found if type(found) is Opaque else found[()]


_READERS: dict[str, Callable[[Any], object]] = {
    "$i": _integer,
    "$u": _text,
    "$t": lambda payload: tuple(_a(list, payload)),
    "$s": lambda payload: set(_hashed(_a(list, payload))),
    "$fs": lambda payload: frozenset(_hashed(_a(list, payload))),
    "$d": lambda payload: dict(_pairs(payload)),
    "$b": _bytes,
    "$ba": lambda payload: bytearray(_bytes(payload)),
    "$c": _complex,
    "$range": _range,
    "$slice": _slice,
    "$x": lambda payload: _CONSTANTS[_a(str, payload)],
    "$type": lambda payload: TYPES[_a(str, payload)],
    "$it": lambda payload: iter(_a(list, payload)),
    "$keys": lambda payload: dict.fromkeys(_hashed(_a(list, payload))).keys(),
    "$values": _values,
    "$items": lambda payload: dict(_pairs(payload)).items(),
    "$deque": _deque,
    "$od": lambda payload: collections.OrderedDict(_pairs(payload)),
    "$dd": lambda payload: collections.defaultdict(None, _pairs(payload)),
    "$counter": _counter,
    "$dec": _decimal,
    "$fr": _fraction,
    "$datetime": _datetime,
    "$date": _date,
    "$time": _time,
    "$timedelta": _timedelta,
    "$nd": _array,
    "$ns": _scalar,
    "$o": lambda payload: Opaque(_a(str, payload)),
}
