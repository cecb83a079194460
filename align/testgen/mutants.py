"""Small wrong changes to a program, one a mutant: what tests that are worth something must notice.

The operators are the usual ones of mutation testing (Jia and Harman 2011): comparisons, arithmetic, boolean
connectives, constants, conditions, statements and returned values. Runs nothing. A mutant may do the same as the
program: a kill rate of 1 is not to be had everywhere.
"""

import ast
import warnings
from collections.abc import Callable, Iterator
from random import Random

from ..execute.definitions import compiles, parsed

Edit = Callable[[ast.AST], None]
LONGEST = 20_000
"""Characters of a program that is still changed."""
_COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_CALLED = {"min": "max", "max": "min", "any": "all", "all": "any", "lower": "upper", "upper": "lower"}


def mutants(source: str, most: int = 24, seed: int | str = 0) -> list[str]:
    """Distinct programs that differ from `source` in one place; drawn at random, in the order of the program.

    Args:
        source: a program; one that does not compile, or is very long, has no mutants.
        most: how many at most.
        seed: of the draw.
    """
    tree = parsed(source) if len(source) <= LONGEST else None
    plain = _written(tree) if tree is not None else None
    if tree is None or plain is None:
        return []
    # of a program's places few are drawn: those are changed, not all
    places = [(at, number) for at, node in enumerate(ast.walk(tree)) for number in range(len(_edits(node)))]
    Random(f"mutants|{seed}").shuffle(places)
    found: dict[str, tuple[int, int]] = {}
    for place in places:
        if len(found) == most:
            break
        changed = _changed(source, *place)
        if changed is not None and changed != plain:
            found.setdefault(changed, place)
    return sorted(found, key=lambda mutant: found[mutant])


def _changed(source: str, at: int, number: int) -> str | None:
    with warnings.catch_warnings():
        # an escape such as "\d" is no fault of ours
        warnings.simplefilter("ignore")
        twin = ast.parse(source)
    node = next(node for index, node in enumerate(ast.walk(twin)) if index == at)
    _edits(node)[number](node)
    changed = _written(twin)
    return changed if changed is not None and compiles(changed) else None


def _written(tree: ast.Module) -> str | None:
    """The program of a tree; None where it is nested too deep, or a constant has no source."""
    try:
        return ast.unparse(ast.fix_missing_locations(tree))
    except (ValueError, RecursionError):
        return None


def _edits(node: ast.AST) -> list[Edit]:
    """What can be changed at a node."""
    return list(_expressions(node)) + list(_statements(node))


def _expressions(node: ast.AST) -> Iterator[Edit]:
    match node:
        case ast.Compare(ops=[operator]):
            yield from (_set("ops", [other()]) for other in _COMPARED[type(operator)])
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator) if type(operator) in _COMPUTED:
            yield _set("op", _COMPUTED[type(operator)]())
        case ast.BoolOp(op=operator):
            yield _set("op", ast.Or() if isinstance(operator, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.USub()):
            yield _set("op", ast.UAdd())
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield _set("operand", ast.UnaryOp(ast.Not(), operand))
        case ast.Call(func=ast.Name(id=name)) if name in _CALLED:
            yield _set("func", ast.Name(_CALLED[name], ast.Load()))
        case ast.Call(func=ast.Attribute(attr=name) as function) if name in _CALLED:
            yield _set("func", ast.Attribute(function.value, _CALLED[name], ast.Load()))
        case ast.Constant(value=value):
            yield from (_set("value", other) for other in _others(value))


def _statements(node: ast.AST) -> Iterator[Edit]:
    match node:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield _set("test", ast.UnaryOp(ast.Not(), test))
        case ast.Return(value=ast.expr()):
            yield _set("value", ast.Constant(None))
        case ast.Slice(lower=ast.expr()):
            yield _set("lower", None)
        case ast.Slice(upper=ast.expr()):
            yield _set("upper", None)
    for name in ("body", "orelse"):
        body = getattr(node, name, None)
        if isinstance(body, list) and not isinstance(node, ast.Module | ast.ClassDef):
            for index, statement in enumerate(body):
                if isinstance(statement, ast.Assign | ast.AugAssign | ast.Expr | ast.Break | ast.Continue | ast.If):
                    yield _without(name, index)


def _others(value: object) -> list[object]:
    """Values to put in the place of a constant; none for a docstring, which changes nothing."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, value - 1]
    if isinstance(value, str) and len(value) < 40:
        return [value + "x", ""] if value else ["x"]
    return []


def _set(name: str, value: object) -> Edit:
    return lambda node: setattr(node, name, value)


def _without(name: str, index: int) -> Edit:
    def edit(node: ast.AST) -> None:
        getattr(node, name)[index] = ast.Pass()

    return edit
