"""Exceptions as plain data: what one process raised, raised again in another.

Carries the names of its classes, its message, its arguments and attributes where they are small. Does not carry
tracebacks, causes or notes, and never runs a class's own code to make it again.
"""

import builtins
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from .codec_base import CodecError
from .codec_read import loads
from .codec_write import dumps

MAX_MESSAGE = 2_000
"""Characters kept of a message."""
MAX_CONTENT = 64 << 10
"""Bytes that the arguments, and the attributes, may take; larger ones are dropped."""
_MAX_BASES, _MAX_NAME = 32, 200
_SAID = "_said"
_NAME = re.compile(r"[^\W\d]\w{0,199}")
# a class may lie about these
_mro, _name = type.__dict__["__mro__"].__get__, type.__dict__["__name__"].__get__
_args, _dict = BaseException.__dict__["args"].__get__, BaseException.__dict__["__dict__"].__get__

# groups hold exceptions, which are no plain data
_BUILTIN: dict[str, type[Exception]] = {
    name: found
    for name, found in vars(builtins).items()
    if isinstance(found, type) and issubclass(found, Exception) and not issubclass(found, BaseExceptionGroup)
}
_BUILTIN_CLASSES = frozenset(_BUILTIN.values())


def describe_error(error: BaseException) -> list[Any]:
    """Plain data about an exception: names of its class and its bases, message, arguments, attributes.

    Of the exception's own code only `__str__` runs, and what that raises is kept back.
    """
    names = [str.__str__(_name(base))[:_MAX_NAME] for base in _mro(type(error))[:_MAX_BASES]]
    return [names, _message(error), _content(_arguments(error)), _content(_dict(error))]


def _message(error: BaseException) -> str:
    try:
        # a subclass of str may lie in every method
        return str.__str__(str(error))[:MAX_MESSAGE]
    except BaseException:
        return ""


def _arguments(error: BaseException) -> list[Any]:
    found = list(_args(error))
    # the name of a file is taken from the arguments when the exception is made
    if isinstance(error, OSError) and len(found) == 2 and error.filename is not None:
        found.append(error.filename)
    return found


def _content(value: object) -> str | None:
    """The value, encoded, or None where that is impossible or long."""
    try:
        data = dumps(value)
    except BaseException:
        return None
    return data.decode("ascii") if len(data) <= MAX_CONTENT else None


def rebuild_error(plain: Any, known: Mapping[str, type[BaseException]] | None = None) -> Exception:
    """An exception that is caught, printed and compared as the described one would be.

    Args:
        plain: what `describe_error` gave, from wherever.
        known: the caller's own classes by name; they win over the builtin ones. Those that are no Exception are left
            out: nothing that is rebuilt can end the process that raises it.

    Raises:
        CodecError: it describes no exception.
    """
    names, message, arguments, attributes = _parts(plain)
    classes = _BUILTIN | {name: found for name, found in (known or {}).items() if issubclass(found, Exception)}
    error = _instance(_class(names, classes), arguments)
    content = error.__dict__
    content.update((name, value) for name, value in attributes.items() if _free(name))
    if type(error).__str__ is _said:
        content[_SAID] = message
    return error


def _free(name: str) -> bool:
    """Whether an attribute may have this name: private ones are ours, and methods of exceptions stay what they are."""
    return not name.startswith("_") and not hasattr(BaseException, name)


def _parts(plain: Any) -> tuple[list[str], str, list[Any], dict[str, Any]]:
    """The description's parts, each checked; arguments that were dropped are replaced by the message."""
    if type(plain) is not list or len(plain) != 4:
        raise CodecError("no description of an exception")
    names, message, arguments, attributes = plain
    if type(names) is not list or type(message) is not str:
        raise CodecError("no description of an exception")
    if not 0 < len(names) <= _MAX_BASES or any(type(name) is not str for name in names):
        raise CodecError("no names of an exception's classes")
    message = message[:MAX_MESSAGE]
    arguments = [message] if arguments is None else _loaded(arguments, list)
    return names, message, arguments, {} if attributes is None else _loaded(attributes, dict)


def _loaded(text: Any, kind: type[Any]) -> Any:
    """Encoded arguments or attributes."""
    if type(text) is not str or len(text) > MAX_CONTENT:
        raise CodecError("no content of an exception")
    found: Any = loads(text.encode("ascii", "replace"))
    if type(found) is not kind or (kind is dict and any(type(name) is not str for name in found)):
        raise CodecError("no content of an exception")
    return found


def _class(names: list[str], classes: Mapping[str, type[Exception]]) -> type[Exception]:
    """The class of that name, or one made of the nearest bases that are known here."""
    if names[0] in classes:
        return classes[names[0]]
    bases: list[type[Exception]] = []
    for name in names[1:]:
        found = classes.get(name)
        if found and not any(issubclass(base, found) for base in bases):
            bases.append(found)
    # one that is no Exception, as SystemExit, would end the process that raises it
    return _made(names[0], tuple(bases) or (RuntimeError,))


@lru_cache(maxsize=256)
def _made(name: str, bases: tuple[type[Exception], ...]) -> type[Exception]:
    if not _NAME.fullmatch(name):
        return bases[0]
    # bases that go together in one process may not here, where some of them are missing
    for chosen in (bases, bases[:1]):
        try:
            return type(name, chosen, {"__module__": "__main__", "__str__": _said})
        except TypeError:
            continue
    return bases[0]


def _said(error: Exception) -> str:
    """The message as the class itself, which is not here, made it."""
    return str(error.__dict__.get(_SAID, ""))


def _instance(kind: type[Exception], arguments: list[Any]) -> Exception:
    """An exception made by the builtin part of its class alone."""
    bases = [base for base in _mro(kind) if base in _BUILTIN_CLASSES]
    for base in bases:
        given = _harmless(base, arguments)
        try:
            error: Exception = base.__new__(kind, *given)
            base.__init__(error, *given)
        # what a constructor refuses, a stranger sent
        except Exception:
            continue
        return error
    for base in bases:
        try:
            error = base.__new__(kind)
        except TypeError:
            continue
        error.args = tuple(arguments)
        return error
    raise CodecError(f"{kind.__name__} cannot be made")


def _harmless(base: type[Exception], arguments: list[Any]) -> list[Any]:
    """Arguments without what the interpreter would trust."""
    if issubclass(base, SyntaxError):
        # a traceback prints as many carets as the columns say
        return arguments[:1]
    if issubclass(base, UnicodeError) and base is not UnicodeError:
        # Python 3.11 reads memory at these places without looking at the length
        *_, text, start, end, _ = [None] * 4 + arguments
        if not isinstance(text, str | bytes) or type(start) is not int or type(end) is not int:
            return []
        return arguments if 0 <= start < end <= len(text) else []
    return arguments
