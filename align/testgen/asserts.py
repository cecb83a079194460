"""Read unit tests out of a model's answer: single assert statements of one call with literal values. Runs nothing."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

JOINED = 20
"""Lines that one assert may be broken into."""
BITS = 10_000
"""Of a whole number."""
_FENCE = re.compile(r"```[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Assert:
    """One test of a function."""

    function: str
    call: str
    """Source of the call."""
    expected: str
    """Source of the value."""
    source: str
    """The assert statement, without a message."""


def read_asserts(text: str) -> Iterator[Assert]:
    """The usable asserts of an answer, in order: from its fenced blocks, or from the whole where it has none.

    Accepted are `f(…) == value` and its mirror image, `f(…) is value`, `f(…)`, `not f(…)` and
    `abs(f(…) - value) < tolerance`, with literal arguments and values. Everything else is left out.
    """
    for block in _FENCE.findall(text) or [text]:
        for node in _statements(block):
            found = _read(node.test)
            if found is not None:
                yield found


def _statements(block: str) -> Iterator[ast.Assert]:
    """All assert statements of a block; one by one where it does not parse whole, as when it is cut off."""
    try:
        trees = [ast.parse(block)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        trees = [tree for chunk in _chunks(block.splitlines()) if (tree := _parsed(chunk)) is not None]
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Assert):
                yield node


def _chunks(lines: Iterable[str]) -> Iterator[list[str]]:
    """Each line, one that begins with `assert` with those after it up to the next one."""
    chunk: list[str] = []
    for line in lines:
        if chunk and not line.strip().startswith("assert"):
            chunk.append(line)
            continue
        if chunk:
            yield chunk
        chunk = [line]
        if not line.strip().startswith("assert"):
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _parsed(chunk: list[str]) -> ast.Module | None:
    """What a chunk says: whole, its lines joined to one, or its first line alone."""
    joined = " ".join(line.strip() for line in chunk[:JOINED])
    for source in dict.fromkeys(("\n".join(chunk).strip(), joined, chunk[0].strip())):
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return None


def _read(test: ast.expr) -> Assert | None:
    """The test that an assert's condition makes."""
    if isinstance(test, ast.Call):
        return _test(test, "True", "{call}")
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _test(test.operand, "False", "not {call}")
    if not isinstance(test, ast.Compare) or len(test.ops) != 1:
        return None
    left, operator, right = test.left, test.ops[0], test.comparators[0]
    if isinstance(operator, ast.Lt | ast.LtE):
        return _tolerance(left, "<" if isinstance(operator, ast.Lt) else "<=", right)
    if not isinstance(operator, ast.Eq | ast.Is):
        return None
    call, value = (right, left) if _is_literal(left) else (left, right)
    symbol = "==" if isinstance(operator, ast.Eq) else "is"
    return _test(call, ast.unparse(value), f"{{call}} {symbol} {{expected}}") if _is_literal(value) else None


def _tolerance(left: ast.expr, symbol: str, right: ast.expr) -> Assert | None:
    """`abs(f(…) - value) < tolerance`."""
    if not (isinstance(left, ast.Call) and isinstance(left.func, ast.Name) and left.func.id == "abs"):
        return None
    inner = left.args[0] if len(left.args) == 1 else None
    if not (isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Sub)):
        return None
    if not (_is_literal(inner.right) and _is_literal(right)):
        return None
    form = f"abs({{call}} - {{expected}}) {symbol} {ast.unparse(right)}"
    return _test(inner.left, ast.unparse(inner.right), form)


def _test(call: ast.expr, expected: str, form: str) -> Assert | None:
    """The test, if the call is of a function by name, with literal arguments."""
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        return None
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    if not all(_is_literal(value) for value in given) or any(keyword.arg is None for keyword in call.keywords):
        return None
    written = ast.unparse(call)
    return Assert(call.func.id, written, expected, "assert " + form.format(call=written, expected=expected))


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return not any(isinstance(part, ast.Constant) and _is_unusable(part.value) for part in ast.walk(node))


def _is_unusable(value: object) -> bool:
    # `[1, ...]` means that something was left out; a longer number may be read, but not be written
    return value is ... or (isinstance(value, int) and value.bit_length() > BITS)
