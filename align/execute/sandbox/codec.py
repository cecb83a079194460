"""Values and exceptions as one line of ASCII JSON: what a candidate and its tester say to each other.

Plain JSON stays itself; everything else is an object with one key that begins with "$". Covers the exact builtins,
the plain types of the standard library, and numpy's arrays and scalars; subclasses arrive as their base, iterators as
their items. Never runs what it reads. Does not cover objects with methods: a caller may name them by tokens (`refer`,
`resolve`), otherwise they arrive as something equal to nothing (`Opaque`). Does not move bytes.
"""

from .codec_base import MAX_BYTES, MAX_DEPTH, CodecError, Opaque
from .codec_errors import describe_error, rebuild_error
from .codec_read import loads
from .codec_write import dumps

__all__ = ["MAX_BYTES", "MAX_DEPTH", "CodecError", "Opaque", "describe_error", "dumps", "loads", "rebuild_error"]
