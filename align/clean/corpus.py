"""Filters and formatters for natural text: datatrove's own, by their class names, applied to prompts.

A filter's reason is datatrove's. Those that fetch a model or a list from the network need it in their cache; what they
lack is told in one line. Filters that take code, such as LambdaFilter, cannot be named in a recipe.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import BackendError, ConfigError, suggest

UNUSED = {"LambdaFilter", "SamplerFilter", "URLFilter", "BaseFilter", "BaseFormatter"}
"""They take code, choose by chance, or look at addresses."""
WRITERS = {"exclusion_writer", "batch_size"}
"""Arguments that are ours: rejects are written by the stage."""

Names = Sequence[str | Mapping[str, Mapping[str, Any]]]
"""`[GopherQualityFilter, {C4QualityFilter: {filter_no_terminal_punct: false}}]`."""


class Corpus:
    """Formatters, then filters, in the order named.

    Args:
        names: of datatrove's classes, or mappings from a name to its arguments.
        where: prefix of messages, such as `stages.clean`.

    Raises:
        BackendError: datatrove, or what a class needs, is missing.
        ConfigError: there is no such class, or it has no such argument.
    """

    def __init__(self, names: Names, where: str = "datatrove") -> None:
        self._where = where
        self._steps = [(name, self._made(name, kind, arguments)) for name, kind, arguments in named(names)]

    def format(self, text: str) -> str:
        """The text as the formatters leave it."""
        for _, step in self._steps:
            if hasattr(step, "format"):
                text = step.format(text)
        return text

    def refused(self, text: str) -> tuple[str, str] | None:
        """The first (filter, reason) that drops the text.

        Raises:
            BackendError: a filter cannot run here.
        """
        for name, step in self._steps:
            if not hasattr(step, "format") and (why := self._asked(name, step, text)):
                return name, why
        return None

    def _asked(self, name: str, step: Any, text: str) -> str:
        """Why a filter drops the text; empty where it keeps it."""
        from datatrove.data import Document

        try:
            result = step.filter(Document(text=text, id=""))
        except Exception as error:
            # nltk tells a missing file by a LookupError itself
            if isinstance(error, ImportError | OSError) or type(error) is LookupError:
                raise BackendError(self._lacks(name, error)) from None
            # a text without words or lines divides by zero in some
            return f"fails: {type(error).__name__}"
        kept, reason = result if isinstance(result, tuple) else (result, None)
        return "" if kept else str(reason or "dropped")

    def _made(self, name: str, kind: type, arguments: Mapping[str, Any]) -> Any:
        try:
            return kind(**arguments)
        except TypeError as error:
            raise ConfigError(f"{self._where}: {name}: {error}") from None
        except Exception as error:  # a library that is not there, a list that is not fetched
            raise BackendError(self._lacks(name, error)) from None

    def _lacks(self, name: str, error: Exception) -> str:
        message = (str(error).splitlines() or [type(error).__name__])[0]
        if isinstance(error, ImportError):
            return f"{self._where}: {name}: {message}"
        return f"{self._where}: {name} cannot run here ({type(error).__name__}: {message}): fetch what it needs first"


def named(names: Names) -> list[tuple[str, type, Mapping[str, Any]]]:
    """Each class by its name, with the arguments for it; none is made yet.

    Raises:
        BackendError: datatrove is missing.
        ConfigError: there is no such class, or it has no such argument, or needs another.
    """
    classes = _classes()
    for name, arguments in map(_entry, names):
        if name not in classes:
            raise ConfigError(f"datatrove has no filter {name!r}: {suggest(name, classes)}")
        signature = inspect.signature(classes[name])
        accepted = set(signature.parameters) - WRITERS
        for argument in arguments:
            if argument not in accepted:
                raise ConfigError(f"datatrove's {name} has no argument {argument!r}: {suggest(argument, accepted)}")
        try:
            signature.bind(**arguments)
        except TypeError as error:
            raise ConfigError(f"datatrove's {name}: {error}") from None
    return [(name, classes[name], arguments) for name, arguments in map(_entry, names)]


def _entry(given: str | Mapping[str, Mapping[str, Any]]) -> tuple[str, Mapping[str, Any]]:
    if isinstance(given, str):
        return given, {}
    if len(given) != 1:
        raise ConfigError(f"datatrove: expected one filter with its arguments, found {', '.join(given) or 'none'}")
    return next(iter(given.items()))


def _classes() -> dict[str, Any]:
    try:
        from datatrove.pipeline import filters, formatters
    except ImportError:
        raise BackendError("datatrove's filters need it: `pip install 'align-rrtf[clean]'`") from None
    return {
        name: found
        for module in (filters, formatters)
        for name, found in vars(module).items()
        if inspect.isclass(found) and name.endswith(("Filter", "Formatter")) and name not in UNUSED
    }
