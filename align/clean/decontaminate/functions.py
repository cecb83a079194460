"""Cut a row's program into functions that can be called by a benchmark's tests. Reads programs, runs nothing."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from ...execute import extract_code
from ...execute.definitions import parsed
from .probes import CANDIDATE

FUNCTIONS = 8
"""Functions of a row that are tried, the last ones: helpers come first."""
STEPS, ALL_STEPS = 20_000, 400_000
"""Lines that one call may run before it is given up, and all calls together, so that no call of the wrong kind holds up
the others. Lines are counted, not seconds: the same calls are given up everywhere."""
_READS = {"input", "open", "stdin", "argv", "exit", "quit"}
_LIMITED = f"""
def made_(called):
    from sys import settrace
    left = all_left = {ALL_STEPS}
    wrong = {{}}
    def step(frame, event, value):
        nonlocal left
        left -= 1
        if left < 0:
            raise SystemExit
        return step
    def kind(value):
        inner = next(iter(value), None) if isinstance(value, (list, tuple, set, dict)) else None
        return type(value), type(inner)
    def limited(*given):
        nonlocal left, all_left
        kinds = tuple(map(kind, given))
        if wrong.get(kinds, 0) >= 4:
            raise TypeError
        before = left = min(all_left, {STEPS})
        settrace(step)
        try:
            value = called(*given)
            wrong[kinds] = 0
            return value
        except (TypeError, AttributeError):
            wrong[kinds] = wrong.get(kinds, 0) + 1
            raise
        finally:
            settrace(None)
            all_left -= before - max(left, 0)
    return limited
{CANDIDATE} = made_(CALLED)
"""


@dataclass(frozen=True)
class Function:
    """A function of a program, or a method of a class of it that is made without arguments."""

    program: str
    """Definitions, imports and values of the row's program; what it does when it is run is left out."""
    called: str
    """Source of the callable."""
    least: int
    most: int
    """Positional arguments that it takes."""

    def takes(self, count: int) -> bool:
        """Whether it can be called with so many arguments."""
        return self.least <= count <= self.most

    def limited(self) -> str:
        """A program with this function under the name of `probes.CANDIDATE`; a call is given up after `STEPS` lines,
        and before it begins where four of the same types have raised a TypeError."""
        return self.program + _LIMITED.replace("CALLED", self.called)

    def named(self, name: str) -> str:
        """A program with this function under another name."""
        return self.program if self.called == name else f"{self.program}\n{name} = {self.called}\n"


def functions(code: str) -> list[Function]:
    """The last `FUNCTIONS` functions of a program, or of the program in an answer; none where there is none."""
    tree = parsed(code)
    if tree is None:
        found = extract_code(code)
        tree = parsed(found) if found is not None else None
    if tree is None:
        return []
    program = _definitions(tree)
    return [Function(program, *one) for one in _callables(tree)][-FUNCTIONS:] if program else []


def _definitions(tree: ast.Module) -> str:
    """The program without what it does when it is run: calls at its top level, and whatever reads."""
    kept = [node for node in tree.body if not isinstance(node, ast.Expr | ast.Assert) and not _acts(node)]
    try:
        return ast.unparse(ast.Module(kept, []))
    except (RecursionError, ValueError):
        return ""


def _acts(node: ast.stmt) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom):
        return False
    names = {
        part.id if isinstance(part, ast.Name) else part.attr
        for part in ast.walk(node)
        if isinstance(part, ast.Name | ast.Attribute)
    }
    return bool(names & (_READS | {"__name__", "print"}))


def _callables(tree: ast.Module) -> Iterator[tuple[str, int, int]]:
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name):
                yield name, *_arity(node.args)
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Lambda(args=arguments)):
                yield name, *_arity(arguments)
            case ast.ClassDef(name=name):
                methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
                if any(part.name in ("__init__", "__new__") for part in methods) or node.bases or node.decorator_list:
                    continue
                for part in methods:
                    least, most = _arity(part.args)
                    if not part.name.startswith("__") and not part.decorator_list and most:
                        yield f"{name}().{part.name}", max(0, least - 1), most - 1


def _arity(arguments: ast.arguments) -> tuple[int, int]:
    positional = len(arguments.posonlyargs) + len(arguments.args)
    if any(default is None for default in arguments.kw_defaults):
        return 1, 0
    return positional - len(arguments.defaults), 99 if arguments.vararg else positional
