"""What tests take from the program that they judge, told by reading them: names, and whether each is a function.

Asserts take the names that nobody else defines; a unittest file takes what it imports from the program's module. A
reference, where there is one, tells what a name is. Runs nothing.
"""

import ast
import builtins
import re
import symtable
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from .definitions import definitions, imported, is_known, parsed

_ERROR = re.compile(r"[A-Z]\w*(?:Error|Exception|Warning)")
_CAP_WORD = re.compile(r"_*[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*")
_RAISES = {"assertRaises", "assertRaisesRegex", "raises"}


@dataclass(frozen=True)
class Taken:
    """What tests take from a program."""

    exports: dict[str, str]
    """Name → `function`, `data`, `class`, or `exception:` with its nearest builtin base."""
    imports: str = ""
    """Import lines that the tests need besides their own: those they borrow from the program."""
    module: str | None = None
    """Name under which they import the program."""
    obstacle: str | None = None
    """What they use of the program's and cannot from another process."""
    given: tuple[str, ...] = ()
    """Names that the setup defines in the program's process: objects of its classes, which the asserts only pass."""
    bare: tuple[str, ...] = ()
    """Functions that they also use without calling them: no stand-in may make up for one that a program lacks."""
    missing: str | None = None
    """A module that they import and nobody has."""


def taken_by_asserts(before: str, setup: str, tests: str, reference: str | None, entry_point: str | None) -> Taken:
    """What assert statements take.

    A module that they name without importing it is imported; so is what the reference imports and they use. A name
    that they never call, and that neither the reference nor anybody else defines, is not the program's.

    Args:
        before: import lines.
        setup: what runs before the tests.
        tests: the asserts.
        reference: tells what each name is; without it, the way it is used and written does.
        entry_point: taken in any case.
    """
    source = "\n".join((before, setup, tests))
    tree, asserts = parsed(source), parsed(tests)
    if tree is None or asserts is None:
        return Taken({entry_point: "function"} if entry_point else {})
    exports, imports = _sorted_out(source, tree, reference, entry_point)
    given = _given(setup, asserts, exports)
    if given:
        tree = asserts
        exports = {name: kind for name, kind in exports.items() if name in free_names(tests) | {entry_point}}
    obstacle = _obstacle(exports) or _received(tree, exports, definitions(reference))
    values = _values(tree)
    bare = tuple(name for name in exports if name in values)
    return Taken(exports, "\n".join(imports), obstacle=obstacle, given=given, bare=bare)


def _sorted_out(
    source: str, tree: ast.Module, reference: str | None, entry_point: str | None
) -> tuple[dict[str, str], list[str]]:
    """The free names of asserts: those of the program, and lines that import others."""
    known, borrowed, called = definitions(reference), imported(reference), _called(tree)
    exports, imports = {}, []
    for name in sorted(free_names(source) | ({entry_point} if entry_point else set())):
        if name in known or name == entry_point:
            kind = _kind(name, known, called)
            exports[name] = "function" if kind == "data" and name in called else kind
        elif hasattr(builtins, name):
            continue
        elif name in borrowed:
            imports.append(borrowed[name])
        elif name in sys.stdlib_module_names:
            imports.append(f"import {name}")
        elif name in called:
            exports[name] = _kind(name, known, called)
    return exports, imports


def _given(setup: str, asserts: ast.Module, exports: dict[str, str]) -> tuple[str, ...]:
    """Names of a setup that makes objects of the program's classes, where the asserts only pass these to it."""
    tree = parsed(setup)
    classes = {name for name, kind in exports.items() if kind == "class"}
    if tree is None or not classes or any(isinstance(node, ast.Assert) for node in ast.walk(tree)):
        return ()
    names = [node for node in ast.walk(asserts) if isinstance(node, ast.Name)]
    used = {node.id for node in names}
    given = _defined(_table(setup)) & used
    passed = {id(part) for node in ast.walk(asserts) for part in _passed(node, exports)}
    only_passed = all(id(node) in passed for node in names if node.id in given)
    return tuple(sorted(given)) if only_passed and not classes & used else ()


def _passed(node: ast.AST, exports: dict[str, str]) -> Iterator[ast.Name]:
    """Names that a call hands to a function of the program as they are, or in a list, tuple, set or dict."""
    match node:
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords) if exports.get(name) == "function":
            parts = [*args, *(keyword.value for keyword in keywords)]
        case _:
            return
    while parts:
        match parts.pop():
            case ast.Name() as found:
                yield found
            case ast.List(elts=inner) | ast.Tuple(elts=inner) | ast.Dict(values=inner):
                parts += inner


def taken_by_suite(source: str, reference: str | None) -> Taken:
    """What a unittest or pytest file takes: the names that it imports from the program's module.

    That is the one that is neither the standard library's nor a test tool's.
    """
    tree = parsed(source)
    if tree is None:
        return Taken({})
    known = definitions(reference)
    strange = _strange_imports(tree)
    # of several, the program is the one whose names the reference defines
    module = max(strange, key=lambda one: (len(strange[one] & known.keys()), len(strange[one])), default=None)
    used, raised = _called(tree) | _bases(tree), _raised(tree)
    names = sorted(strange[module]) if module is not None else []
    kinds = {name: _kind(name, known, used, raised=name in raised) for name in names}
    missing = next((one for one in strange if one != module), None)
    return Taken(kinds, module=module, missing=missing)


def free_names(source: str) -> set[str]:
    """Names that a source uses and does not define. It must compile."""
    top = _table(source)
    return {
        one.get_name()
        for table in _tables(top)
        for one in table.get_symbols()
        if one.is_referenced() and (one.is_global() or table is top)
    } - _defined(top)


def _table(source: str) -> symtable.SymbolTable:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return symtable.symtable(source, "<tests>", "exec")


def _defined(top: symtable.SymbolTable) -> set[str]:
    return {one.get_name() for one in top.get_symbols() if one.is_assigned() or one.is_imported()}


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _tables(child)


def _kind(name: str, known: dict[str, str], used: set[str], *, raised: bool = False) -> str:
    """What a name of the program is: as the reference says, else as it is written and used."""
    if name in known:
        return known[name]
    if raised or _ERROR.fullmatch(name):
        return "exception:Exception"
    if _CAP_WORD.fullmatch(name):
        return "class"
    return "data" if name.isupper() and name not in used else "function"


def _called(tree: ast.AST) -> set[str]:
    return {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}


def _bases(tree: ast.AST) -> set[str]:
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {base.id for node in classes for base in node.bases if isinstance(base, ast.Name)}


def _raised(tree: ast.AST) -> set[str]:
    """Names that stand first in an `assertRaises`, or in an `except`."""
    found = set()
    for node in ast.walk(tree):
        expected: ast.expr | None = None
        match node:
            case ast.Call(func=ast.Attribute(attr=name), args=[first, *_]) if name in _RAISES:
                expected = first
            case ast.ExceptHandler(type=kind):
                expected = kind
        for part in ast.walk(expected) if expected is not None else ():
            if isinstance(part, ast.Name | ast.Attribute):
                found.add(part.id if isinstance(part, ast.Name) else part.attr)
    return found


def _strange_imports(tree: ast.Module) -> dict[str, set[str]]:
    """Module that is neither the standard library's nor a test tool's → the names taken from it."""
    found: dict[str, set[str]] = {}
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not is_known(node.module or "."):
            found.setdefault(node.module or ".", set()).update(alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            modules.update({one.asname or one.name: one.name for one in node.names if not is_known(one.name)})
    for module in modules.values():
        found.setdefault(module, set())
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in modules:
                found[modules[name]].add(attribute)
    return {module: (names | _unbound(tree)) - {"*"} if "*" in names else names for module, names in found.items()}


def _unbound(tree: ast.Module) -> set[str]:
    """Names that a star import must give."""
    return {name for name in free_names(ast.unparse(tree)) if not hasattr(builtins, name)}


def _values(tree: ast.AST) -> set[str]:
    """Names that are used other than by calling them."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}


def _obstacle(exports: dict[str, str]) -> str | None:
    """The first thing among what asserts take that is no function."""
    for name, kind in exports.items():
        if kind == "class":
            return f"the tests use objects of the program's class {name}"
        if kind != "function":
            return f"the tests use the program's {kind.partition(':')[0]} {name}"
    return None


def _received(tree: ast.AST, exports: dict[str, str], known: dict[str, str]) -> str | None:
    """That there is a class of the reference's, where the tests reach into what a function of the program returned."""
    classes = [name for name, kind in known.items() if kind == "class"]
    for node in ast.walk(tree) if classes else ():
        match node:
            case ast.Attribute(value=ast.Call(func=ast.Name(id=name)), attr=attribute):
                if name in exports and not hasattr(str, attribute) and not hasattr(list, attribute):
                    return f"the tests use objects of the program's class {classes[0]}"
    return None
