"""The module that a test file imports in place of the solution. Runs no tests (`suite` does).

Functions call the program, exception classes are made here, constants are copies, objects of classes stay with the
program. What the program says it has is believed only in its form: a lie makes stand-ins of another kind, whose
values are no less plain.
"""

import builtins
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

from .handles import Objects
from .keeper import Export
from .remote import Protocol, Remote


def stand_in(
    module: str, names: list[str], exports: dict[str, Export] | None, remote: Remote
) -> tuple[ModuleType, str | None]:
    """The module to import, and the first name that the program lacks."""
    kinds = _kinds(names, exports, remote)
    errors = _exceptions(kinds, module)
    objects = Objects(kinds, remote.ask)
    # a class may have another name of its own than the one it is imported by
    remote.known.update({word: error for name, error in errors.items() for word in (*kinds[name][1][:1], name)})
    remote.adopt, remote.refer = objects.adopt, objects.refer
    solution = ModuleType(module)
    for name, export in kinds.items():
        if export[0] == "constant":
            # a program that has a name and then cannot say what it is lacks it
            with suppress(Exception):
                vars(solution)[name] = remote.get(name)
        else:
            vars(solution)[name] = objects.classes.get(name) or errors.get(name) or _function(name, remote)
            objects.name(name, vars(solution)[name])
    return solution, next((name for name in names if name not in vars(solution)), None)


def _kinds(names: list[str], exports: dict[str, Export] | None, remote: Remote) -> dict[str, Export]:
    own = as_exports(remote.ask("exports", names), names)
    if exports is not None:
        return {name: exports.get(name, ["function"]) for name in own}
    return {
        name: ["function"] if export[0] == "class" and not name[0].isupper() else export for name, export in own.items()
    }


def register(module: str) -> str:
    """Source that gives the module of a program the name under which its tests import it."""
    return f"import sys as _sys; _sys.modules[{module!r}] = _sys.modules[__name__]; del _sys"


def as_exports(told: object, names: list[str]) -> dict[str, Export]:
    """What a program says it has under some names.

    Raises:
        Protocol: it says something else.
    """
    if type(told) is not dict or not all(name in names and _is_export(export) for name, export in told.items()):
        raise Protocol("this is no list of what the program has")
    return told


def _is_export(export: object) -> bool:
    if type(export) is not list or not export or type(export[0]) is not str:
        return False
    match export:
        case ["function" | "constant"]:
            return True
        case ["exception" | "class", list(words)]:
            return len(words) <= 100 and all(type(word) is str and len(word) <= 100 for word in words)
    return False


def _exceptions(kinds: dict[str, Export], module: str) -> dict[str, type[Exception]]:
    """Classes for the program's exceptions, each derived from the nearest base that is known here."""
    found: dict[str, type[Exception]] = {}
    wanted = {name: export[1] for name, export in kinds.items() if export[0] == "exception"}
    for name, lineage in sorted(wanted.items(), key=lambda item: len(item[1])):
        known = [found.get(word) or vars(builtins).get(word) for word in lineage]
        classes = [kind for kind in known if isinstance(kind, type) and issubclass(kind, Exception)]
        base = classes[0] if classes else Exception
        same = lineage and base.__name__ == lineage[0]
        found[name] = base if same else type(name, (base,), {"__module__": module})
    return found


def _function(name: str, remote: Remote) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return remote.call(name, args, kwargs)

    call.__name__ = call.__qualname__ = name
    return call
