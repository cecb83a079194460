"""What both sides of the codec share: its limits, its error, its stand-in for what has no plain form.

Does not read or write values.
"""

import builtins
import collections
import datetime
import decimal
import fractions

MAX_BYTES = 8 << 20
"""Longest encoded value."""
MAX_DEPTH = 100
"""Deepest nesting of a value."""
MAX_NODES = 1_000_000
"""Most items of a value, all levels together; a JSON object counts as `OBJECT_NODES`."""
OBJECT_NODES = 4
MAX_FRACTION_BITS = 1 << 15
"""Longest numerator or denominator: reducing a fraction takes time that grows with the square of its length."""

# a tagged value nests twice, and the payload of a scalar's tag may be a list
_JSON_DEPTH = 2 * MAX_DEPTH + 8
SURE_BYTES = _JSON_DEPTH
"""What is no longer passes every check."""
_CHUNK = 1 << 18
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))

TYPES = {found.__name__: found for found in vars(builtins).values() if isinstance(found, type)} | {
    found.__name__: found
    for found in (
        type(None),
        collections.Counter,
        collections.OrderedDict,
        collections.defaultdict,
        collections.deque,
        datetime.date,
        datetime.datetime,
        datetime.time,
        datetime.timedelta,
        decimal.Decimal,
        fractions.Fraction,
    )
}
"""Classes that travel by their name."""


class CodecError(ValueError):
    """A value that cannot be encoded, or bytes that are no encoded value."""


class Opaque:
    """Something that has no plain form: true, and equal to nothing, itself included.

    Args:
        name: its type's name, for messages.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<{self.name} object>"


def check(data: bytes) -> None:
    """Refuse what would take too much memory, time or stack to read.

    Raises:
        CodecError: too long, too many items, or nested too deep.
    """
    size = len(data)
    if size > MAX_BYTES:
        raise CodecError(f"{size:,} bytes, at most {MAX_BYTES:,} are taken")
    if size * OBJECT_NODES > MAX_NODES and _nodes(data) > MAX_NODES and _nodes(_outside_strings(data)) > MAX_NODES:
        raise CodecError(f"more than {MAX_NODES:,} items")
    if data.count(b"[") + data.count(b"{") > _JSON_DEPTH and _too_deep(data):
        raise CodecError(f"nested deeper than {MAX_DEPTH}")


def _nodes(data: bytes) -> int:
    return data.count(b",") + data.count(b"[") + OBJECT_NODES * data.count(b"{")


def _outside_strings(data: bytes) -> bytes:
    """What stands between the strings, exact up to the first place that is no JSON."""
    # with the escapes gone, each quote opens or closes a string
    data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    found, inside = [], 0
    for start in range(0, len(data), _CHUNK):
        parts = data[start : start + _CHUNK].split(b'"')
        found.append(b"".join(parts[inside::2]))
        inside = (inside + len(parts) - 1) % 2
    return b"".join(found)


def _too_deep(data: bytes) -> bool:
    """Take off the innermost brackets again and again; what is left after so many rounds is nested deeper."""
    brackets = _outside_strings(data).translate(None, _NO_BRACKETS)
    for _ in range(_JSON_DEPTH):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if not brackets:
            return False
    return True
