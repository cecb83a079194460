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
_TELLING = ("try", "__exit__", *_TESTING_TOOLS)
"""A source of ASCII without any of these neither catches exceptions nor expects them: its nodes need no look."""
_LOAD = ast.Load()


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
    # identifiers of other letters may be normalised to these words
    telling = not source.isascii() or any(word in source for word in _TELLING)
    nodes = list(ast.walk(tree)) if telling else []
    # where the tests catch some exceptions, one that leaves an assert may be the very thing they wait for
    rewriter = _Rewriter(swallow=not any(isinstance(node, ast.Try | ast.TryStar) for node in nodes))
    if not any(_expects_failure(node) for node in nodes):
        rewriter.rewrite(tree)
    places = [line - 1 for line in rewriter.places]
    text = source.splitlines()
    return Tests(
        code=compile(tree, filename, "exec", dont_inherit=True),
        total=len(places) or 1,
        whole=not places,
        lines=tuple(text[place].strip() if place < len(text) else "" for place in places),
    )


class _Rewriter:
    """`assert x` → `TALLY.judge(TALLY.begin(0), x)`, with exceptions noted where they are swallowed."""

    def __init__(self, *, swallow: bool) -> None:
        self.swallow = swallow
        self.places: list[int] = []

    def rewrite(self, node: ast.AST) -> None:
        """Replace the asserts among the statements in a node; none stands in an expression."""
        for name in node._fields:
            inner = getattr(node, name, None)
            if not isinstance(inner, list):
                continue
            for index, part in enumerate(inner):
                if isinstance(part, ast.Assert):
                    inner[index] = self._counted(part)
                elif isinstance(part, ast.stmt | ast.ExceptHandler | ast.match_case):
                    self.rewrite(part)

    def _counted(self, node: ast.Assert) -> ast.stmt:
        index = len(self.places)
        self.places.append(node.lineno)
        at = {"lineno": node.lineno, "col_offset": node.col_offset}
        begun = _report(at, "begin", ast.Constant(index, None, **at))
        statement: ast.stmt = ast.Expr(_report(at, "judge", begun, node.test), **at)
        if self.swallow:
            noted = ast.Expr(_report(at, "raised", ast.Constant(index, None, **at)), **at)
            statement = ast.Try([statement], [ast.ExceptHandler(None, None, [noted], **at)], [], [], **at)
        return statement


def _report(at: dict[str, int], method: str, *args: ast.expr) -> ast.Call:
    tally = ast.Name(TALLY, _LOAD, **at)
    return ast.Call(ast.Attribute(tally, method, _LOAD, **at), list(args), [], **at)


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
