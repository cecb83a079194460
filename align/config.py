"""Strict YAML: every value has a line, every mistake is one line with the place and the cure.

YAML 1.2 (`5e-7` is a float, `no` is text), doubled keys refused, `extends:` another file, dotted `a.b=c` overrides,
`Section` as the base of every typed part, `${NAME}` for the environment. Knows nothing of stages.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from .errors import ConfigError, suggest
from .io import explain, not_text
from .schema import STRICT

Place = tuple[str | int, ...]
"""Path of a value in a document: keys and list indices."""

ENVIRONMENT = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Section(BaseModel):
    """Base of every typed part of a recipe: unknown keys are errors; the docstring under a field is its help."""

    model_config = STRICT

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            accepted = [field.alias or name for name, field in cls.model_fields.items()]
            for key in data:
                if key not in accepted and key not in cls.model_fields:
                    raise bad_key(str(key), f"unknown key: {suggest(str(key), accepted)}")
        return data


def bad_key(key: str, message: str) -> PydanticCustomError:
    """An error about one key of a section, or with dots of one below it, to be raised in its validators."""
    return PydanticCustomError("bad_key", "{message}", {"message": message, "key": key})


S = TypeVar("S", bound=Section)


@dataclass(frozen=True)
class Document:
    """Plain data with the line of every value."""

    path: str
    data: dict[str, Any]
    lines: Mapping[Place, str]
    """Place → `file:line`."""
    overridden: frozenset[Place] = frozenset()

    def where(self, place: Place) -> str:
        """`file:line: a.b.c`, for messages."""
        dotted = ".".join(str(part) for part in place)
        for path in self.overridden:
            # an override also makes the sections above it, where the file has none
            if place[: len(path)] == path or (place not in self.lines and place and path[: len(place)] == place):
                return f"override {dotted}"
        known = place
        while known and known not in self.lines:
            known = known[:-1]
        return f"{self.lines.get(known, f'{self.path}:1')}: {dotted}".removesuffix(": ")


def load(path: Path, overrides: Iterable[str] = ()) -> Document:
    """Read a YAML file, with the file that it `extends:` below it, and apply `a.b=c` overrides.

    Raises:
        ConfigError: a file is missing, is not YAML, doubles a key, or an override does not fit.
    """
    lines: dict[Place, str] = {}
    data = _read(path, lines, ())
    changed = frozenset(_override(data, text) for text in overrides)
    return Document(str(path), data, lines, changed)


def _read(path: Path, lines: dict[Place, str], above: tuple[Path, ...]) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise ConfigError(not_text(path)) from None
    parsed = _parse(text, str(path))
    if not isinstance(parsed, CommentedMap):
        raise ConfigError(f"{path}:1: expected a mapping with `stages:`")
    own: dict[Place, int] = {}
    data: dict[str, Any] = _plain(parsed, (), own)
    if "extends" in data:
        extends, where = data.pop("extends"), f"{path}:{own['extends',]}: extends"
        if not isinstance(extends, str):
            raise ConfigError(f"{where}: expected the path of a recipe, found {extends!r}")
        base = path.parent / extends
        if base.resolve() in (file.resolve() for file in (*above, path)):
            raise ConfigError(f"{where}: {extends!r} extends this file in turn")
        if not base.is_file():
            raise ConfigError(f"{where}: {base} cannot be read (no such file)")
        data = _merged(_read(base, lines, (*above, path)), data)
    lines.update({place: f"{path}:{line}" for place, line in own.items()})
    return data


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The base with what its extension says: mappings are merged key by key, anything else is replaced."""
    found = dict(base)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = _merged(found[key], value) if both else value
    return found


def validate(kind: type[S], document: Document, place: Place, data: Any, context: Any = None) -> S:
    """Build a section from the data at `place`; its validators are given `context`.

    Raises:
        ConfigError: with `file:line`, the dotted key, what was found and what is expected.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"{document.where(place)}: expected a mapping, found {data!r}")
    try:
        return kind.model_validate(data, context=context)
    except ValidationError as error:
        raise ConfigError(_one_line(error, document, place, data)) from None


def expand(text: str) -> str:
    """Replace `${NAME}` by the environment's value.

    Raises:
        ConfigError: the variable is not set.
    """

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            raise ConfigError(f"the environment variable {match[1]} is not set (the recipe says {text!r})")
        return found

    return ENVIRONMENT.sub(value, text)


def unset_variables(value: Any) -> set[str]:
    """Names in `${NAME}` anywhere in the value that the environment lacks."""
    if isinstance(value, str):
        return {name for name in ENVIRONMENT.findall(value) if name not in os.environ}
    if isinstance(value, dict):
        return set().union(*(unset_variables(item) for item in value.values()))
    if isinstance(value, list):
        return set().union(*(unset_variables(item) for item in value))
    return set()


def _parse(text: str, path: str) -> Any:
    try:
        return YAML(typ="rt").load(text)
    except DuplicateKeyError as error:
        mark = error.problem_mark
        key, first = _first_of(YAML().compose(text), (mark.line, mark.column))
        raise ConfigError(
            f"{path}:{mark.line + 1}: found duplicate key {key!r}, first in line {first}: write each key once"
        ) from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        cure = ": indent with spaces" if "'\\t'" in str(error.problem) else ""
        raise ConfigError(f"{path}:{line}: not YAML: {error.problem}{cure}") from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{path}:{line}: not YAML: a control character (#x{error.character:02x}): remove it"
        ) from None
    except (YAMLError, ValueError, RecursionError) as error:
        # a number of thousands of digits, or thousands of brackets, is a ValueError or a RecursionError
        raise ConfigError(f"{path}: not YAML: {str(error).splitlines()[0].partition(';')[0]}") from None


def _first_of(node: Any, place: tuple[int, int]) -> tuple[str, int]:
    """The doubled key at a line and column (from 0), and the line (from 1) where its mapping has it first."""
    for pair in node.value if isinstance(node.value, list) else ():
        inner = pair if isinstance(pair, tuple) else (pair,)
        if isinstance(pair, tuple) and (pair[0].start_mark.line, pair[0].start_mark.column) == place:
            first = next(key for key, _ in node.value if key.value == pair[0].value)
            return pair[0].value, first.start_mark.line + 1
        for child in inner:
            if child.end_mark.line >= place[0] >= child.start_mark.line and (found := _first_of(child, place))[1]:
                return found
    return "", 0


def _plain(node: Any, place: Place, lines: dict[Place, int]) -> Any:
    """Plain dicts, lists and scalars; `lines` is filled on the way."""
    if isinstance(node, CommentedMap):
        for key in node:
            lines[(*place, key)] = _line(node, key)
        return {key: _plain(value, (*place, key), lines) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        for index in range(len(node)):
            lines[(*place, index)] = node.lc.item(index)[0] + 1
        return [_plain(value, (*place, index), lines) for index, value in enumerate(node)]
    for exact in (bool, int, float, str):
        if isinstance(node, exact):
            return exact(node)
    return node


def _line(node: CommentedMap, key: str) -> int:
    """Where a mapping's key is written: in itself, or in what `<<:` merges into it."""
    if key in (node.lc.data or ()):
        return int(node.lc.key(key)[0]) + 1
    return next(_line(base, key) for base in node.merge if key in base)


def _override(data: dict[str, Any], text: str) -> Place:
    dotted, equals, value = text.partition("=")
    if not equals or not all(dotted.split(".")):
        raise ConfigError(f"override {text!r}: expected key=value, such as stages.align.args.learning_rate=1e-4")
    place = tuple(int(part) if part.isdecimal() else part for part in dotted.split("."))
    parent: Any = data
    for part in place[:-1]:
        parent = _step(parent, part, text)
    if isinstance(parent, list) and not (isinstance(place[-1], int) and place[-1] < len(parent)):
        raise ConfigError(f"override {text!r}: {place[-1]!r} is no index of a list of {len(parent)}")
    parent[place[-1]] = _plain(_parse(value, f"override {text!r}"), (), {})
    return place


def _step(parent: Any, part: str | int, text: str) -> Any:
    if isinstance(parent, list) and isinstance(part, int) and part < len(parent):
        child = parent[part]
    elif isinstance(parent, dict):
        if parent.get(part) is None:
            parent[part] = {}
        child = parent[part]
    else:
        raise ConfigError(f"override {text!r}: nothing at {part!r}")
    if not isinstance(child, dict | list):
        raise ConfigError(f"override {text!r}: {part!r} is not a section")
    return child


def _one_line(error: ValidationError, document: Document, place: Place, data: Any) -> str:
    first = error.errors()[0]
    inner = _present(first["loc"], data)
    context = first.get("ctx", {})
    if first["type"] == "bad_key":
        key = () if inner[-1:] == (context["key"],) else tuple(context["key"].split("."))
        return f"{document.where((*place, *inner, *key))}: {context['message']}"
    if first["type"] == "missing":
        inner = (*inner, str(first["loc"][-1]))
    message = explain(error).partition(": ")[2]
    return f"{document.where((*place, *inner))}: {message}"


def _present(loc: tuple[str | int, ...], data: Any) -> Place:
    """The part of pydantic's location that names keys of the data: union tags are left out."""
    found: list[str | int] = []
    for part in loc:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            continue
        found.append(part)
    return tuple(found)
