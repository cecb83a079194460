"""The keys of a class as rows: key, type, default, help; those of the classes inside it indented below them.

All of it comes from the class, a recipe's section or a record; the help is the docstring under each field.
"""

import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ..config import Section
from ..recipe.stage import UNKEYED, Marker
from ..terminal import Table

Row = tuple[str, str, str, str]
"""Key, type, default, help."""
FEW = 4
"""So many choices stand in the type; more stand in the help."""
WORDS = {str: "text", int: "int", float: "float", bool: "true | false", Any: "anything", dict: "map", list: "list"}
SIGNS = (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))


def show_keys(rows: Iterable[Row], what: str = "key") -> None:
    """Print rows under their headings."""
    table = Table((what, "type", "default", "what it is"))
    for row in rows:
        table.add(*row)
    table.show()


def first_words(section: type[BaseModel]) -> str:
    """The first paragraph of a class's docstring, in one line."""
    return " ".join((section.__doc__ or "").partition("\n\n")[0].split())


def section_rows(section: type[BaseModel], depth: int = 0) -> Iterator[Row]:
    """A class's keys in order, each followed by the keys of the classes that may stand there."""
    for name, field in section.model_fields.items():
        margin = "  " * depth
        yield margin + (field.alias or name), _type(field), _default(field), _help(field)
        tag = field.discriminator
        for inner in _sections(field.annotation):
            if isinstance(tag, str):
                yield f"{margin}  {tag}: {_words(inner.model_fields[tag].annotation)}", "", "", first_words(inner)
            below = section_rows(inner, depth + (2 if tag else 1))
            yield from (row for row in below if row[0].strip() != tag)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for inner in get_args(annotation):
            yield from _sections(inner)


def _type(field: FieldInfo) -> str:
    """The type in words, with its bounds: `int > 0`, `float > 0, ≤ 1`."""
    words = _words(Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation)
    bounds = [
        f"{sign} {getattr(one, name):.10g}" for one in field.metadata for name, sign in SIGNS if hasattr(one, name)
    ]
    return f"{words} {', '.join(bounds)}".strip()


def _words(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        marks = [mark for mark in inner[1:] if isinstance(mark, Marker) and mark != UNKEYED]
        return marks[0].name if marks else _words(inner[0])
    if origin is Literal:
        return " | ".join(map(str, inner)) if len(inner) <= FEW else "name"
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(one) for one in inner if one is not type(None)))
    if origin is list:
        return f"list of {_plural(_words(inner[0]))}"
    if origin is dict:
        return "map" if inner[1] is Any else f"map of {_plural(_words(inner[1]))}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section" if issubclass(annotation, Section) else annotation.__name__.lower()
    return WORDS[annotation]


def _plural(words: str) -> str:
    return f"({words})" if " " in words else words.removesuffix("s") + "s"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "all" if value and value == list(_choices(field.annotation)) else _value(value)


def _help(field: FieldInfo) -> str:
    choices = _choices(field.annotation)
    many = f" Names: {', '.join(choices)}." if len(choices) > FEW else ""
    return (field.description or "") + many


def _choices(annotation: Any) -> tuple[str, ...]:
    """The values of a choice, of an optional one, or of a list of them."""
    inner = get_args(annotation)
    return (
        inner if get_origin(annotation) is Literal else next((found for one in inner if (found := _choices(one))), ())
    )


def _value(value: Any) -> str:
    """A value as a recipe would have it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_value(item)}" for key, item in value.items()) + "}"
    return {"None": "none", "True": "true", "False": "false", "": '""'}.get(str(value), str(value))
