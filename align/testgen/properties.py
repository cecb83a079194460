"""Checks that hold from a function's interface alone, as asserts: it returns, with the right type, and twice the same.

Weak by nature: a stub of the right type passes them. They show nothing of what a function is for. That arguments are
left as they are cannot be checked: each call gets copies of its own, so that nobody ever sees what became of them.
Runs nothing.
"""

import ast
from collections.abc import Iterable, Sequence

from .asserts import Assert
from .extract import parameters
from .inputs import Call

_TYPES = {
    "int": ("int",),
    "float": ("int", "float"),
    "complex": ("int", "float", "complex"),
    "bool": ("int",),
    "str": ("str",),
    "bytes": ("bytes",),
    "list": ("list",),
    "tuple": ("tuple",),
    "dict": ("dict",),
    "set": ("set",),
    "List": ("list",),
    "Tuple": ("tuple",),
    "Dict": ("dict",),
    "Set": ("set",),
    "None": ("type(None)",),
}
"""Annotation → the types of the values that it allows: a whole number may stand for a `float` (PEP 484), and 1 equals
True."""


def checks(call: Call, types: Sequence[str], names: Sequence[str] | None) -> list[Assert]:
    """The checks of one call.

    Args:
        call: the function with arguments that suit it.
        types: what it may return, as `returned_types` tells; empty: anything.
        names: its parameters; None: they are not known, and whether it returns the same twice is not checked.
    """
    kinds = types[0] if len(types) == 1 else f"({', '.join(types)})"
    found = [
        Assert(call.function, call.source, "True", f"assert isinstance({call.source}, {kinds if types else 'object'})")
    ]
    place = len(call.args) - 1
    if names and not call.keywords and 0 <= place < len(names):
        # spelt in another way: equal calls of a program are made once where cases are sieved
        same = Call(call.function, call.args[:-1], ((names[place], call.args[-1]),)).source
        found.append(Assert(call.function, call.source, "True", f"assert {call.source} == {same}"))
    return found


def returned_types(signature: str | None, examples: Iterable[Assert]) -> list[str]:
    """The types of what a function returns: as its `def` line says, else those of the values of examples.

    Empty where neither tells.
    """
    annotated = _annotated(signature)
    if annotated is not None:
        return annotated
    found: list[str] = []
    for test in examples:
        name = type(ast.literal_eval(test.expected)).__name__
        found += _TYPES.get("None" if name == "NoneType" else name, ())
    # a text that shows one value of 1 may mean 1.5 as well
    known = list(dict.fromkeys(found))
    return [*known, "float"] if known == ["int"] else known


def named_parameters(signature: str | None) -> list[str] | None:
    """The names of the parameters that can be given by place and by name; None where they cannot be read."""
    names = parameters(signature)
    return None if names is None or "*" in (signature or "") or "/" in (signature or "") else names


def _annotated(signature: str | None) -> list[str] | None:
    if not signature:
        return None
    try:
        node = ast.parse(signature.strip().rstrip(":") + ": pass").body[0]
        returns = node.returns if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else None
        return _allowed(returns) if returns is not None else None
    except (SyntaxError, ValueError, RecursionError, MemoryError, IndexError):
        return None


def _allowed(node: ast.expr) -> list[str] | None:
    """The types that an annotation allows; None where it allows more than is told here."""
    match node:
        case ast.Constant(value=None):
            return list(_TYPES["None"])
        case ast.Name(id=name) if name in _TYPES:
            return list(_TYPES[name])
        case ast.Attribute(attr=name) if name in _TYPES:
            return list(_TYPES[name])
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _joined([left, right])
        case ast.Subscript(value=ast.Name(id="Optional") | ast.Attribute(attr="Optional"), slice=inner):
            return _joined([inner, ast.Constant(None)])
        case ast.Subscript(value=ast.Name(id="Union") | ast.Attribute(attr="Union"), slice=ast.Tuple(elts=parts)):
            return _joined(parts)
        case ast.Subscript(value=outer):
            return _allowed(outer) if not isinstance(outer, ast.Subscript) else None
    return None


def _joined(parts: Iterable[ast.expr]) -> list[str] | None:
    found = [_allowed(part) for part in parts]
    return None if None in found else list(dict.fromkeys(name for each in found for name in each or ()))
