"""Count the asserts of a test source one by one. Rewrites the source; runs nothing.

Every assert statement gets an index in source order and reports each of its executions, so that one which fails
does not hide those after it. Tests that handle AssertionError themselves are left as they are and count as one.
Passing or failing as a whole is the same as without rewriting.
"""

import ast
from dataclasses import dataclass
from types import CodeType
from typing import Any, TypeVar

_Node = TypeVar("_Node", bound=ast.AST)
TALLY = "__align_tally__"
"""Name in the tests' namespace that the rewritten asserts report to."""

_CATCH = {"AssertionError", "Exception", "BaseException"}
_TESTING_TOOLS = {"unittest", "pytest", "contextlib", "suppress", "raises"}


@dataclass(frozen=True)
class Tests:
    """A test source, ready to run."""

    code: CodeType
    total: int
    """Asserts to count; 1 where the source counts as a whole."""
    whole: bool
    """It counts as a whole: no assert reports for itself."""
    lines: tuple[str, ...]
    """The source line of each assert."""


def prepare(source: str, filename: str) -> Tests:
    """Rewrite and compile a test source.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError, OverflowError: it does not compile.
    """
    tree = ast.parse(source, filename)
    nodes = list(ast.walk(tree))
    # where the tests catch some exceptions, one that leaves an assert may be the very thing they wait for
    rewriter = _Rewriter(swallow=not any(isinstance(node, ast.Try | ast.TryStar) for node in nodes))
    if not any(_expects_failure(node) for node in nodes):
        tree = rewriter.visit(tree)
    places = [line - 1 for line in rewriter.places]
    text = source.splitlines()
    return Tests(
        code=compile(tree, filename, "exec", dont_inherit=True),
        total=len(places) or 1,
        whole=not places,
        lines=tuple(text[place].strip() if place < len(text) else "" for place in places),
    )


class _Rewriter(ast.NodeTransformer):
    """`assert x` → `TALLY.judge(TALLY.begin(0), x)`, with exceptions noted where they are swallowed."""

    def __init__(self, *, swallow: bool) -> None:
        self.swallow = swallow
        self.places: list[int] = []

    def visit(self, node: ast.AST) -> Any:
        """Replace the asserts among statements; none stands in an expression."""
        return node if isinstance(node, ast.expr) else super().visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        index = len(self.places)
        self.places.append(node.lineno)
        begun = _report(node, "begin", _at(node, ast.Constant(index)))
        statement: ast.stmt = _at(node, ast.Expr(_report(node, "judge", begun, node.test)))
        if self.swallow:
            noted = _at(node, ast.Expr(_report(node, "raised", _at(node, ast.Constant(index)))))
            handler = _at(node, ast.ExceptHandler(None, None, [noted]))
            statement = _at(node, ast.Try([statement], [handler], [], []))
        return statement


def _report(place: ast.stmt, method: str, *args: ast.expr) -> ast.Call:
    tally = _at(place, ast.Name(TALLY, ast.Load()))
    return _at(place, ast.Call(_at(place, ast.Attribute(tally, method, ast.Load())), list(args), []))


def _at(place: ast.stmt, node: _Node) -> _Node:
    return ast.copy_location(node, place)


def _expects_failure(node: ast.AST) -> bool:
    """Whether it shows that a failing assert may be expected by the tests themselves."""
    match node:
        case ast.ExceptHandler(type=caught):
            return caught is None or any(isinstance(part, ast.Name) and part.id in _CATCH for part in ast.walk(caught))
        case ast.FunctionDef(name="__exit__"):
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
            return not _TESTING_TOOLS.isdisjoint(name.split("."))
        case ast.ImportFrom(module=str(name)):
            return not _TESTING_TOOLS.isdisjoint(name.split("."))
    return False
