"""Read a test file without running it: what it imports from the program, how many tests it has, whether it can run.

Covers unittest's classes and pytest's functions and classes. Knows nothing of the program but what `exports` says.
"""

import ast
import sys
from collections.abc import Iterator
from functools import lru_cache

from .codec_base import MAX_NODES
from .keeper import Export
from .pytest_shim import SUPPORTED

Function = ast.FunctionDef | ast.AsyncFunctionDef

_CAPTURES = {"redirect_stdout", "redirect_stderr", "capsys", "capfd", "assertLogs", "assertWarns"}
"""Tools that look at what a program does to its own process."""
_FIXTURES = {"monkeypatch", "tmp_path", "tmpdir", "request", "mocker", "caplog", "recwarn"}
"""Arguments that pytest or its plug-ins would make."""
_NUMBERS = {"abs", "round", "int", "float", "complex", "divmod", "pow"}


@lru_cache(maxsize=64)
def parse(source: str) -> ast.Module:
    """Raises SyntaxError, ValueError, RecursionError or MemoryError where it is no Python."""
    return ast.parse(source)


def imported_names(source: str, module: str) -> list[str]:
    """The names that a test file takes from the module of the solution, in order."""
    tree = parse(source)
    names: dict[str, None] = {}
    aliases: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == module and node.level <= 1:
            names.update((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.Import):
            aliases.update({alias.asname or alias.name: None for alias in node.names if alias.name == module})
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in aliases:
                names[attribute] = None
    return list(names)


def test_names(source: str) -> list[str]:
    """Test functions, and test methods as `Class.method`, in the order of definition; no name twice.

    Those that are skipped whatever the program does are left out.
    """
    body = parse(source).body
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    names: dict[str, None] = {}
    for node in body:
        if isinstance(node, Function) and node.name.startswith("test") and not _skipped(node):
            names[node.name] = None
        elif isinstance(node, ast.ClassDef) and is_suite(node, classes) and not _skipped(node):
            methods = _methods(node, classes).values()
            names.update({f"{node.name}.{method.name}": None for method in methods if not _skipped(method)})
    return list(names)


def count_tests(source: str) -> int:
    """Test methods and functions in a test file; those that are skipped whatever the program does do not count."""
    return len(test_names(source))


def is_suite(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> bool:
    """Whether unittest or pytest would look for tests in a class."""
    lineage = list(_lineage(node, classes))
    bases = [ast.unparse(base) for kind in lineage for base in kind.bases]
    if any(base.endswith("TestCase") for base in bases):
        return True
    made = any(isinstance(part, Function) and part.name == "__init__" for kind in lineage for part in kind.body)
    return node.name.startswith("Test") and not made


def _lineage(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> Iterator[ast.ClassDef]:
    yield node
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in classes and base.id != node.name:
            yield from _lineage(classes[base.id], {name: kind for name, kind in classes.items() if name != base.id})


def _methods(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> dict[str, Function]:
    found: dict[str, Function] = {}
    for kind in reversed(list(_lineage(node, classes))):
        found.update({part.name: part for part in kind.body if isinstance(part, Function)})
    return {name: part for name, part in found.items() if name.startswith("test")}


def _skipped(node: Function | ast.ClassDef) -> bool:
    names = [ast.unparse(part.func if isinstance(part, ast.Call) else part) for part in node.decorator_list]
    return any(name.split(".")[-1] == "skip" for name in names)


def why_not(source: str, module: str, exports: dict[str, Export] | None = None) -> str | None:
    """Why a test file cannot be run against a program in another process, None where nothing speaks against it.

    Args:
        source: the test file.
        module: the name under which it imports the solution.
        exports: what the reference has under these names; without it, what is called and begins with a capital is
            taken for a class.
    """
    try:
        tree = parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"the tests do not compile: {error}"
    names = imported_names(source, module)
    if not names:
        return f"the tests import nothing from {module}"
    if exports is None:
        classes = {name for name in names if name[0].isupper()}
    else:
        classes = {name for name, export in exports.items() if export[0] == "class"}
    reasons = (
        _import_reason(node, module) or _decorator_reason(node, set(names)) or _reason(node, classes, module)
        for node in ast.walk(tree)
    )
    return next((reason for reason in reasons if reason is not None), None)


def _import_reason(node: ast.AST, module: str) -> str | None:
    match node:
        case ast.Import(names=aliases):
            wanted = [alias.name for alias in aliases]
        case ast.ImportFrom(level=level) if level:
            return "the tests import from a package of their own"
        case ast.ImportFrom(module=str(name), names=aliases):
            if any(alias.name == "*" for alias in aliases):
                return f"the tests import everything from {name}"
            wanted = [name]
        case _:
            return None
    for name in wanted:
        first = name.split(".")[0]
        if first not in (module, "pytest") and first not in sys.stdlib_module_names:
            return f"the tests import {name}"
    return None


def _decorator_reason(node: ast.AST, names: set[str]) -> str | None:
    """A test that the program can have skipped would hold for whoever has it skipped."""
    for decorator in node.decorator_list if isinstance(node, Function | ast.ClassDef) else ():
        match decorator:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in ("skipIf", "skipUnless"):
                if _names(decorator) & names:
                    return "the tests skip themselves by what the program says"
    return None


def _reason(node: ast.AST, classes: set[str], module: str) -> str | None:
    match node:
        case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name) if name in _CAPTURES:
            return f"the tests use {name}, which looks into the program's own process"
        case ast.arg(arg=name) if name in _FIXTURES:
            return f"the tests use pytest's fixture {name}"
        case ast.Attribute(value=ast.Name(id="patch") | ast.Attribute(attr="patch"), attr=name):
            return f"the tests use patch.{name}"
        case ast.Attribute(value=ast.Name(id="pytest"), attr=name) if name not in SUPPORTED:
            return f"pytest.{name} is not supported"
        case ast.Call(
            func=ast.Name(id="patch") | ast.Attribute(attr="patch"), args=[ast.Constant(value=str(path)), *_]
        ) if path.startswith((f"{module}.", "sys.std", "builtins.")):
            return f"the tests patch {path}"
        case ast.ClassDef(name=name, bases=bases) if any(_names(base) & classes for base in bases):
            return f"the tests derive {name} from a class of the program"
        case ast.withitem(context_expr=expression) if _constructs(expression, classes):
            return "the tests use an object of the program in a with statement"
        case ast.BinOp() | ast.Call() if (items := _items(node)) > MAX_NODES:
            return f"the tests make a list of {items:,} items, and {MAX_NODES:,} can be passed to a program"
        case ast.BinOp(left=left, right=right) if _mixed(left, right, classes):
            return "the tests combine an object of the program with plain data"
        case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in _NUMBERS and _constructs(first, classes):
            return f"the tests make a number of an object of the program: {name}()"
        case ast.Call(func=ast.Attribute(attr=name), args=[first, second, *_]) if name.startswith(
            ("assertAlmostEqual", "assertNotAlmostEqual")
        ) and (_constructs(first, classes) or _constructs(second, classes)):
            return f"{name} makes numbers of objects of the program"
        case ast.Call(func=ast.Attribute(attr="assertEqual"), args=[first, second, *_]) if _mixed(
            first, second, classes, computed=True
        ):
            return "the tests compare an object of the program with plain data"
    return None


def _items(node: ast.AST) -> int:
    """How many items a list has, as far as it is written with numbers; 0 where it is not."""
    match node:
        case ast.Call(func=ast.Name(id="range"), args=[ast.Constant(value=int(stop))]):
            return stop
        case ast.Call(func=ast.Name(id="range"), args=[ast.Constant(value=int(start)), ast.Constant(value=int(stop))]):
            return stop - start
        case ast.Call(func=ast.Name(id="list" | "tuple"), args=[inner]):
            return _items(inner)
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return len(parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _items(left) + _items(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=ast.Constant(value=int(times))):
            return _items(left) * times
    return 0


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _constructs(node: ast.AST, classes: set[str]) -> bool:
    """Whether an expression is an object of the program for sure: constructed on the spot, or computed from such."""
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in classes
        case ast.BinOp(left=left, right=right):
            return _constructs(left, classes) or _constructs(right, classes)
        case ast.UnaryOp(operand=operand):
            return _constructs(operand, classes)
    return False


def _plain(node: ast.AST, computed: bool) -> bool:
    match node:
        case ast.Constant():
            # a class may well be compared with None
            return node.value is not None
        case ast.UnaryOp(operand=operand):
            return _plain(operand, computed)
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            return computed and not any(isinstance(part, ast.Call | ast.Name) for part in parts)
    return False


def _mixed(left: ast.AST, right: ast.AST, classes: set[str], *, computed: bool = False) -> bool:
    return (_constructs(left, classes) and _plain(right, computed)) or (
        _constructs(right, classes) and _plain(left, computed)
    )
