"""Show the first records of a file, a field at a time: wrapped and highlighted on a terminal, plain in a pipe."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.syntax import Syntax
from rich.text import Text

from ..io import rows
from ..terminal import console, is_plain, visible

SHOWN = 3
"""Records shown where no limit is given."""
COUNTED_BYTES = 2**26
"""Files up to this size are read to the end, to say how many records there are."""
INDENT = 2
CODE = {
    *("code", "completion", "completions", "responses", "chosen", "rejected", "solution", "canonical_solution"),
    *("reference", "reference_solution", "tests", "test", "test_list", "test_setup", "test_imports"),
}
"""Names of fields that hold Python."""


class Field(NamedTuple):
    """A field as it is shown; one that holds others has no text."""

    depth: int
    name: str
    text: str
    is_code: bool


def show_records(path: Path, limit: int | None = None) -> None:
    """The first records, and how many there are."""
    found, out = rows(path), console()
    shown = 0
    for _, row in islice(found, limit or SHOWN):
        shown += 1
        print_fields(row)
        if is_plain(out):
            print()
        else:
            out.rule(style="dim")
    print(_closing(path, found, shown))


def print_fields(row: dict[str, Any]) -> None:
    """One object, in the form that standard output is for."""
    out = console()
    for field in fields(row):
        if is_plain(out):
            print("\n".join(plain(field)))
        else:
            out.print(rich(field, out))


def fields(row: dict[str, Any], depth: int = 0, code: bool = False) -> Iterator[Field]:
    """A record's fields in order; those of an object or a list inside it one step deeper."""
    for name, value in row.items():
        is_code = code or name in CODE
        if isinstance(value, list) and value and is_code and all(_is_line(item) for item in value):
            value = "\n".join(value)
        if isinstance(value, list) and any(isinstance(item, dict) or _is_block(item) for item in value):
            value = {str(number): item for number, item in enumerate(value, start=1)}
        if isinstance(value, dict) and value:
            yield Field(depth, visible(name), "", False)
            yield from fields(value, depth + 1, is_code)
        else:
            is_text = isinstance(value, str)
            text = value if is_text else json.dumps(value, ensure_ascii=False)
            yield Field(depth, visible(name), visible(text), is_code and is_text)


def plain(field: Field) -> Iterator[str]:
    """`name: value`, or the value's lines indented below the name."""
    margin = " " * INDENT * field.depth
    if "\n" not in field.text:
        yield f"{margin}{field.name}: {field.text}".rstrip()
        return
    yield f"{margin}{field.name}:"
    for line in field.text.rstrip("\n").split("\n"):
        yield f"{margin}{' ' * INDENT}{line}".rstrip()


def rich(field: Field, out: Console) -> RenderableType:
    """The name in bold, its value beside it where it fits and else below, code in colours."""
    margin = INDENT * field.depth
    name = Text.assemble((field.name, "bold"), ": ")
    if not field.is_code and "\n" not in field.text and margin + len(name) + len(field.text) <= out.width:
        return Padding(name + Text(field.text), (0, 0, 0, margin))
    text = field.text.rstrip("\n")
    # the terminal's own colours, which fit its background
    code = Syntax(text, "python", theme="ansi_dark", background_color="default", word_wrap=True)
    value = Padding(code if field.is_code else Text(text), (0, 0, 0, INDENT))
    return Padding(Group(name, value), (0, 0, 0, margin))


def _closing(path: Path, rest: Iterator[Any], shown: int) -> str:
    if path.stat().st_size > COUNTED_BYTES:
        return f"the first {shown:,} records: --limit N for more"
    total = shown + sum(1 for _ in rest)
    return f"{shown:,} of {total:,} records" + (": --limit N for more" if shown < total else "")


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and "\n" not in value


def _is_block(value: Any) -> bool:
    return isinstance(value, str) and "\n" in value
