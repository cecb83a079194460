"""One worker's interpreter: prepare it, shut it in, fork the zygote, and go on as the warden (`serve`).

Started clean (`python -s -P -S -m sandbox.warden CHANNEL CONFIG`), never by fork: it holds none of the supervisor's
memory, secrets or descriptors. It runs no program and no test itself.
"""

import gc
import importlib
import importlib.machinery
import json
import os
import random
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from . import codec, jail, root, zygote

_REHEARSALS = 20
_PROGRAM = '''
from typing import Any, List
import math


class Pair:
    """Two things."""

    def __init__(self, first, second=0, *rest, **named):
        self.first, self.second = first, second


def f(values: List[Any], sign: float = 1.5) -> Any:
    """What it was given."""
    total, found = 0, {}
    for index, value in enumerate(values):
        if isinstance(value, (int, float)) and value != math.inf:
            total += abs(value) % 7 * sign
        elif value not in found:
            found[str(value)] = [item for item in sorted(range(index)) if item % 2 == 0]
    while total > 3:
        total -= 1
    try:
        text = f"{total:.3f}".split(".") + list(map(str, found))
    except (KeyError, ValueError):
        raise
    return values if (lambda pair: pair.first)(Pair(len(text))) is not None else None
'''


class PackageFinder:
    """Offers some packages, and none of their neighbours in the same folder."""

    def __init__(self, packages: dict[str, str]) -> None:
        self._packages = packages

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The import system's question: where is `name`?"""
        folder = self._packages.get(name)
        return None if folder is None else importlib.machinery.PathFinder.find_spec(name, [folder])


def main(channel: int, config: dict[str, Any]) -> None:
    """Serve until the supervisor goes.

    Args:
        channel: to the supervisor.
        config: `level`, `modules` to import beforehand, `packages` that may be imported (name → folder), `site` folders
            of which everything may, paths to be `shown`, and the `work` folder of level none.
    """
    level, work = config["level"], config["work"]
    own = sys.path.pop(sys.path.index(os.environ.pop("PYTHONPATH")))
    _import(config["modules"], config["packages"], config["site"])
    jail.enter(jail.Place(level, (own, *config["shown"]), work))
    for _ in range(_REHEARSALS):
        _rehearse()
    gc.collect()
    gc.freeze()
    ends = zygote.start(level, channel)
    # only now, so that neither the zygote nor any candidate pays for what judges them
    sys.path.append(own)
    serve = importlib.import_module("sandbox.serve")
    sys.path.remove(own)
    serve.serve(channel, ends, root.BOX if level == "A" else work)


def _rehearse() -> None:
    """Do what every candidate does.

    What the interpreter makes at first use, such as the compiler's two hundred types, would otherwise be made in every
    candidate; and a process forked from one whose memory has settled has fewer pages of its own.
    """
    space: dict[str, Any] = {}
    exec(compile(_PROGRAM, "<rehearsal>", "exec", dont_inherit=True), space)
    for value in ([1, 2.5], "text", {"key": [True, None]}, (1, 2)):
        _, args, keywords = codec.loads(codec.dumps(["f", (value,), {}]))
        codec.dumps(["value", space["f"](*args, **keywords)])
    try:
        space["f"]()
    except TypeError as error:
        codec.rebuild_error(codec.loads(codec.dumps(["error", codec.describe_error(error)]))[1])


def _register_nothing(**hooks: object) -> None:
    """In place of os.register_at_fork."""


def _import(modules: list[str], packages: dict[str, str], site: list[str]) -> None:
    """Import what programs would, and make all that is drawn at random the same in every process."""
    sys.meta_path.append(PackageFinder(packages))
    sys.path += site
    # what modules would do after each fork, such as seeding anew, is not wanted, and costs more than the fork
    register, os.register_at_fork = os.register_at_fork, _register_nothing
    for name in modules:
        importlib.import_module(name)
    os.register_at_fork = register
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)


if __name__ == "__main__":
    # run as a script, this file is not the module that others import: they must share its classes
    importlib.import_module("sandbox.warden").main(int(sys.argv[1]), json.loads(sys.argv[2]))
