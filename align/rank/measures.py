"""What can be read off a program without running it: whether it parses, lint, complexity, length, habits."""

import ast
import sys
import warnings
from collections.abc import Callable
from functools import lru_cache

from pyflakes.checker import Checker

from ..schema import Response

MOST_CHARACTERS = 200_000
"""A longer program is not read: it counts as one that does not parse."""

_BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.comprehension, ast.match_case)
_TALK = {"print", "input"}


def parses(response: Response) -> float:
    """1 where the program parses, else 0."""
    return float(_tree(response.code) is not None)


def lint(response: Response) -> float:
    """Minus the number of pyflakes' messages: undefined and unused names, doubled keys, …"""
    if (tree := _tree(response.code)) is None:
        return float("-inf")
    try:
        return -float(len(Checker(tree).messages))
    except RecursionError:
        # nested deeper than it can follow: no program to prefer
        return float("-inf")


def complexity(response: Response) -> float:
    """Minus the cyclomatic complexity: decisions + 1 (McCabe, 1976); each `and` and `or` is a decision."""
    if (tree := _tree(response.code)) is None:
        return float("-inf")
    decisions = 0
    for node in ast.walk(tree):
        decisions += isinstance(node, _BRANCHES) + (len(node.values) - 1 if isinstance(node, ast.BoolOp) else 0)
        decisions += len(node.ifs) if isinstance(node, ast.comprehension) else 0
    return -float(decisions + 1)


def length(response: Response) -> float:
    """Minus the number of nodes of the syntax tree: neither comments nor layout count."""
    if (tree := _tree(response.code)) is None:
        return float("-inf")
    return -float(sum(1 for _ in ast.walk(tree)))


def finished(response: Response) -> float:
    """1 where the answer ended by itself, 0 where a limit cut it."""
    return float(response.finish == "stop")


def quiet(response: Response) -> float:
    """Minus the number of calls of `print` and `input`."""
    if (tree := _tree(response.code)) is None:
        return float("-inf")
    return -float(sum(isinstance(node, ast.Call) and _name(node.func) in _TALK for node in ast.walk(tree)))


def documented(response: Response) -> float:
    """Share of the functions and classes that have a docstring; 0 without any."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    tree = _tree(response.code)
    found = [node for node in ast.walk(tree) if isinstance(node, kinds)] if tree else []
    return sum(ast.get_docstring(node) is not None for node in found) / len(found) if found else 0.0


def annotated(response: Response) -> float:
    """Share of the functions whose parameters and result all have types; 0 without any."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = _tree(response.code)
    found = [node for node in ast.walk(tree) if isinstance(node, kinds)] if tree else []
    return sum(map(_is_annotated, found)) / len(found) if found else 0.0


def self_contained(response: Response) -> float:
    """Minus the number of imported packages beside Python's own."""
    if (tree := _tree(response.code)) is None:
        return float("-inf")
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules.add((node.module or "").partition(".")[0])
    return -float(len(modules - sys.stdlib_module_names))


MEASURES: dict[str, Callable[[Response], float]] = {
    measure.__name__: measure
    for measure in (
        parses,
        lint,
        complexity,
        length,
        finished,
        quiet,
        documented,
        annotated,
        self_contained,
    )
}
"""Name → measure; more is better in all of them, −∞ where there is no program to measure."""


@lru_cache(maxsize=512)
def _tree(code: str | None) -> ast.Module | None:
    """The syntax tree of a program; None where there is none."""
    if code is None or len(code) > MOST_CHARACTERS:
        return None
    try:
        with warnings.catch_warnings():
            # a candidate's doubtful escape sequences are not ours to tell
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _is_annotated(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    bare = [one for one in arguments if one.annotation is None and one.arg not in ("self", "cls")]
    return node.returns is not None and not bare
