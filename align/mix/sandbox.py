"""Jinja for templates that others wrote: no files, no hidden attributes, and a bound on the work of one row.

`|||` in the template's source becomes `SEPARATOR`, so that a `|||` in the data stays text. Loops, calls, filters and
operators are charged; a template that goes over the bound raises `TemplateLimit`. Does not know what a template is for.
"""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from random import Random
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

SEPARATOR = "\x00|||\x00"
"""What divides input and target in a rendered text: nothing that data holds."""
WORK = 1_000_000
"""Units of work for one row: a loop step, a call or an operator, and every 16 characters that it handles."""
CPU_SECONDS = 5.0
"""CPU time for one row."""
LENGTH = 1_000_000
"""Characters, or items, of one value."""
NUMBER = 100_000
"""The largest whole number that a function or filter takes, and the longest `range`."""
FILTERS = (
    "abs capitalize center count d default dictsort e escape first float format int items join last length list lower "
    "map max min reject rejectattr replace reverse round safe select selectattr sort string sum title tojson trim "
    "truncate unique upper wordcount"
)
"""Jinja's filters that templates have; the others serve web pages, or make large values of small ones."""
WIDE = re.compile(r"\d{6,}|\*|\{[^}]*\{")
"""A format string with a width of six digits, or one that comes from a value."""


class TemplateLimit(Exception):
    """A template works without end, or makes a value without end."""


class _Work(threading.local):
    """What the row being rendered may still do."""

    left = WORK
    ends = float("inf")
    checks = 0
    seed = 0
    random: Random | None = None

    def start(self, seed: int) -> None:
        self.left, self.checks, self.seed, self.random = WORK, 0, seed, None
        self.ends = time.thread_time() + CPU_SECONDS

    def choose(self, values: list[Any]) -> Any:
        # made when it is asked for: few templates draw, and seeding takes longer than rendering
        self.random = self.random or Random(self.seed)
        return self.random.choice(values)

    def spend(self, units: int) -> None:
        self.left -= units
        self.checks += 1
        if self.left < 0:
            raise TemplateLimit(f"it takes over {WORK:,} steps for one row")
        if self.checks % 1000 == 0 and time.thread_time() > self.ends:
            raise TemplateLimit(f"it computes for over {CPU_SECONDS:g} seconds for one row")


WORKING = _Work()


def size(value: Any, most: int = LENGTH) -> int:
    """Characters and items in a value, containers opened.

    Raises:
        TemplateLimit: over `most`.
    """
    if isinstance(value, str):
        found = len(value)
    elif isinstance(value, int):
        found = value.bit_length() // 3
    elif isinstance(value, dict | list | tuple | set):
        found = 0
        for item in value.items() if isinstance(value, dict) else value:
            found += 1 + size(item, most - found)
    else:
        found = 1
    if found > most:
        raise TemplateLimit(f"it makes a value of over {LENGTH:,} characters")
    return found


def charge(*values: Any) -> None:
    """Pay for handling the values."""
    WORKING.spend(1 + sum(size(value) for value in values) // 16)


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of templates."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(autoescape=False, finalize=_shown)
        self.globals = {"range": _range, "zip": zip, "namespace": self.globals["namespace"], "dict": dict}
        kept = {name: _paid(name, self.filters[name]) for name in FILTERS.split()}
        own: dict[str, Callable[..., Any]] = {"choice": _choice, "most_frequent": _most_frequent, "highlight": str}
        inner = {"__counted": _counted, "__sized": _sized}
        self.filters = {**kept, **{name: _paid(name, function) for name, function in own.items()}, **inner}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Counting().visit(super()._parse(source, name, filename))
        return tree

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """`"…".format`, which the sandbox puts in a wrapper, with a bound on widths."""
        owner = getattr(value, "__self__", None)
        if isinstance(owner, str) and getattr(value, "__name__", "").startswith("format") and WIDE.search(owner):
            raise TemplateLimit("it formats with a width of over 5 digits")
        return super().wrap_str_format(value)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function or method of the template's, paid for, with no argument that makes large values."""
        name, owner = getattr(__obj, "__name__", ""), getattr(__obj, "__self__", None)
        if name in ("join", "replace", "translate") and isinstance(owner, str):
            args = _amplified(name, owner, args)
        _pay(args, kwargs)
        result = super().call(__context, __obj, *args, **kwargs)
        charge(result)
        return result

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """An operator that can make large values of small ones."""
        if operator == "*":
            _check_product(left, right)
        elif operator == "**" and (abs(right) > 64 or size(left) > 32):
            raise TemplateLimit("it raises to a power over 64")
        elif operator == "%" and isinstance(left, str) and WIDE.search(left):
            raise TemplateLimit("it formats with a width of over 5 digits")
        result = super().call_binop(context, operator, left, right)
        charge(result)
        return result

    def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
        """Refuse what Jinja would render as nothing."""
        raise SecurityError(f"it reaches for {attribute!r} of a {type(obj).__name__}, which templates may not")


class _Counting(NodeTransformer):
    """Every loop counts its steps, every `~` the length of its result."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = self._through(node.iter, "__counted")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return self._through(node, "__sized")

    def _through(self, node: nodes.Node, name: str) -> nodes.Filter:
        found = nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)
        assert node.environment is not None, "the parser sets it"
        found.set_environment(node.environment)
        return found


def _counted(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        WORKING.spend(1)
        yield value


def _sized(value: Any) -> Any:
    charge(value)
    return value


def _shown(value: Any) -> Any:
    """What an expression prints: nothing for None, which a row has where it lacks a value."""
    charge(value)
    return "" if value is None else value


def _range(*bounds: int) -> range:
    found = range(*bounds)
    if len(found) > NUMBER:
        raise TemplateLimit(f"it counts to over {NUMBER:,}")
    return found


def _pay(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    for value in (*args, *kwargs.values()):
        if isinstance(value, int) and abs(value) > NUMBER:
            raise TemplateLimit(f"it gives a function a number over {NUMBER:,}")
    charge(*args, *kwargs.values())


def _paid(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that is charged for its value, its arguments and its result."""
    leading = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def paid(*args: Any, **kwargs: Any) -> Any:
        hidden, value, rest = args[:leading], args[leading], args[leading + 1 :]
        if isinstance(value, Iterator):
            value = list(_counted(value))
        if name == "tojson" and (rest or kwargs):
            raise TemplateLimit("its `tojson` takes an indent")
        if name == "join":
            _amplified("join", str(rest[0] if rest else kwargs.get("d", "")), (value,))
        elif name in ("replace", "format") and isinstance(value, str):
            _amplified(name, value, (*rest, *kwargs.values()))
        charge(value)
        _pay(rest, kwargs)
        result = function(*hidden, value, *rest, **kwargs)
        charge(result)
        return result

    return paid


def _check_product(left: Any, right: Any) -> None:
    for many, times in ((left, right), (right, left)):
        if isinstance(many, str | list | tuple) and isinstance(times, int) and size(many) * times > LENGTH:
            raise TemplateLimit(f"it makes a value of over {LENGTH:,} characters")
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > 4096:
        raise TemplateLimit("it makes a number of over 1,000 digits")


def _amplified(name: str, owner: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of a text's method whose result is a product of lengths, or the refusal of it."""
    if name == "translate" or (name.startswith("format") and WIDE.search(owner)):
        raise TemplateLimit("it uses `translate`, or formats with a width of over 5 digits")
    made = 0
    if name == "join" and args:
        values = list(_counted(args[0]))
        args, made = (values, *args[1:]), len(owner) * len(values)
    elif name == "replace" and len(args) > 1:
        made = owner.count(str(args[0])) * len(str(args[1]))
    if made > LENGTH:
        raise TemplateLimit(f"it makes a value of over {LENGTH:,} characters")
    return args


def _choice(values: Iterable[Any]) -> Any:
    """promptsource's `choice`: one of the values, drawn with the row's seed."""
    return WORKING.choose(list(values))


def _most_frequent(values: Iterable[Any]) -> list[Any]:
    """promptsource's `most_frequent`: the values that occur most often, in order of appearance."""
    counts = Counter(values)
    most = max(counts.values(), default=0)
    return [value for value, count in counts.items() if count == most]
