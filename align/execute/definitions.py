"""What a program's top level defines and imports, told by reading it. Runs nothing."""

import ast
import builtins
import sys
import warnings
from collections.abc import Iterable, Iterator
from functools import lru_cache

TEST_TOOLS = frozenset({"pytest", "numpy"})
"""Modules that a test file may import besides the standard library's."""


@lru_cache(maxsize=4096)
def compiles(source: str) -> bool:
    """Whether it is a program."""
    return parsed(source) is not None


# a tree takes a hundred times its source's memory
@lru_cache(maxsize=32)
def parsed(source: str) -> ast.Module | None:
    """The tree, or None where it does not compile."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, "<source>", "exec", dont_inherit=True)
            return ast.parse(source)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        return None


@lru_cache(maxsize=1024)
def definitions(reference: str | None) -> dict[str, str]:
    """What a program's top level defines."""
    tree = parsed(reference) if reference is not None else None
    found: dict[str, str] = {}
    for node in _top_level(tree.body if tree else []):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found[name] = "function"
            case ast.ClassDef(name=name):
                found[name] = _class_kind(node, found)
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    for name in _assigned(target):
                        found[name] = _value_kind(value, found)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found[name] = _value_kind(value, found)
    return found


def _top_level(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While):
            inner = [part for name in ("body", "orelse", "finalbody") for part in getattr(node, name, [])]
            yield from _top_level(inner)


def _class_kind(node: ast.ClassDef, found: dict[str, str]) -> str:
    for base in node.bases:
        name = base.id if isinstance(base, ast.Name) else ""
        if found.get(name, "").startswith("exception:"):
            return found[name]
        kind = getattr(builtins, name, None)
        if isinstance(kind, type) and issubclass(kind, BaseException):
            return f"exception:{name}"
    return "class"


def _value_kind(value: ast.expr, found: dict[str, str]) -> str:
    match value:
        case ast.Lambda():
            return "function"
        case ast.Name(id=name):
            return found.get(name, "function" if hasattr(builtins, name) else "data")
        case ast.Call(func=ast.Name(id="namedtuple")) | ast.Call(func=ast.Attribute(attr="namedtuple")):
            return "class"
        case ast.Call(func=ast.Name(id=name)) if found.get(name) == "function":
            # a decorator by hand: what it returns is most often a function again
            return "function"
        case ast.Call(func=ast.Name(id="partial" | "lru_cache")) | ast.Call(func=ast.Attribute(attr="partial")):
            return "function"
    return "data"


def _assigned(target: ast.expr) -> Iterator[str]:
    for node in ast.walk(target):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


@lru_cache(maxsize=1024)
def imported(reference: str | None) -> dict[str, str]:
    """Name → the line by which a program imports it, from the standard library or numpy."""
    tree = parsed(reference) if reference is not None else None
    found = {}
    for node in tree.body if tree else []:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if is_known(alias.name):
                    found[alias.asname or alias.name.partition(".")[0]] = ast.unparse(ast.Import([alias]))
        elif isinstance(node, ast.ImportFrom) and is_known(node.module or ""):
            for alias in node.names:
                line = ast.unparse(ast.ImportFrom(node.module, [alias], node.level))
                found[alias.asname or alias.name] = line
    return found


def is_known(module: str) -> bool:
    """Whether a module is the standard library's or a test tool."""
    first = module.partition(".")[0]
    return first in sys.stdlib_module_names or first in TEST_TOOLS
