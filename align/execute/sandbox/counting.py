"""Count the asserts of a test source one by one. Rewrites the source; runs nothing.

Every assert statement gets an index in source order and reports each of its executions, so that one which fails
does not hide those after it. Tests that handle AssertionError themselves are left as they are and count as one.
Passing or failing as a whole is the same as without rewriting.
"""

import ast
from dataclasses import dataclass
from types import CodeType

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
    rewriter = _Rewriter(swallow=not any(isinstance(node, ast.Try | ast.TryStar) for node in ast.walk(tree)))
    if not _handles_failures(tree):
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
    def __init__(self, *, swallow: bool) -> None:
        # where the tests catch some exceptions, one that leaves an assert may be the very thing they wait for
        self.swallow = swallow
        self.places: list[int] = []

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        index = len(self.places)
        self.places.append(node.lineno)
        report = f"{TALLY}.judge({TALLY}.begin({index}), None)"
        guarded = f"try: {report}\nexcept: {TALLY}.raised({index})"
        statement = ast.parse(guarded if self.swallow else report).body[0]
        for part in ast.walk(statement):
            ast.copy_location(part, node)
        call = next(part for part in ast.walk(statement) if isinstance(part, ast.Call) and len(part.args) == 2)
        call.args[1] = node.test
        return statement


def _handles_failures(tree: ast.AST) -> bool:
    """Whether a failing assert may be expected by the tests themselves."""
    return any(_catches(node) or _named(node) for node in ast.walk(tree))


def _catches(node: ast.AST) -> bool:
    if not isinstance(node, ast.ExceptHandler):
        return False
    if node.type is None:
        return True
    return any(isinstance(part, ast.Name) and part.id in _CATCH for part in ast.walk(node.type))


def _named(node: ast.AST) -> bool:
    match node:
        case ast.FunctionDef(name="__exit__"):
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
            return not _TESTING_TOOLS.isdisjoint(name.split("."))
        case ast.ImportFrom(module=str(name)):
            return not _TESTING_TOOLS.isdisjoint(name.split("."))
    return False
