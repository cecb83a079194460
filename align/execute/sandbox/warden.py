"""One worker's interpreter: prepare it, shut it in, fork the zygote, and go on as the warden (`serve`).

Started clean (`python -s -P -S -m sandbox.warden CHANNEL CONFIG`), never by fork: it holds none of the supervisor's
memory, secrets or descriptors. It runs no program and no test itself.
"""

import importlib
import importlib.machinery
import json
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from . import huge, jail, root, zygote


class PackageFinder:
    """Offers some packages, and none of their neighbours in the same folder."""

    def __init__(self, packages: dict[str, str]) -> None:
        self._packages = packages

    def move(self) -> None:
        """Look for them where they are shown now."""
        for name, folder in self._packages.items():
            self._packages[name] = os.path.dirname(jail.where(os.path.join(folder, name)))

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
            of which everything may, paths to be `shown`, the `work` folder of level none, and the `core` to stay on,
            or None.
    """
    level, work = config["level"], config["work"]
    if config["core"] is not None:
        os.sched_setaffinity(0, {config["core"]})
    os.environ.pop("LD_BIND_NOW", None)
    own = sys.path.pop(sys.path.index(os.environ.pop("PYTHONPATH")))
    finder = PackageFinder(config["packages"])
    sys.meta_path.append(finder)
    sys.path += config["site"]
    _import(config["modules"])
    huge.move_code()
    if work is not None:
        # ours to make and to remove: the supervisor may be killed at any time
        os.mkdir(work, 0o700)
    jail.enter(jail.Place(level, (own, *config["shown"]), work))
    finder.move()
    move_imports([own, *config["shown"]])
    ends = zygote.start(level, channel)
    # only now, so that neither the zygote nor any candidate pays for what judges them
    serve = importlib.import_module("sandbox.serve")
    serve.serve(channel, ends, root.BOX if level == "A" else work)


def _register_nothing(**hooks: object) -> None:
    """In place of os.register_at_fork."""


def move_imports(shown: list[str]) -> None:
    """Have what is not imported yet looked for where it is shown now."""
    sys.path[:] = [jail.where(path) for path in sys.path]
    for module in list(sys.modules.values()):
        folders = getattr(module, "__path__", None)
        if isinstance(folders, list):
            folders[:] = [_moved(folder, shown) for folder in folders]


def _moved(folder: str, shown: list[str]) -> str:
    path = next((path for path in shown if folder == path or folder.startswith(f"{path}/")), folder)
    return jail.where(path) + folder.removeprefix(path)


def _import(modules: list[str]) -> None:
    """Import what programs would, and make all that is drawn at random the same in every process."""
    # what modules would do after each fork, such as seeding anew, is not wanted, and costs more than the fork
    register, os.register_at_fork = os.register_at_fork, _register_nothing
    for name in modules:
        importlib.import_module(name)
    importlib.import_module("random").seed(0)
    os.register_at_fork = register
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)


if __name__ == "__main__":
    # run as a script, this file is not the module that others import: they must share its classes
    importlib.import_module("sandbox.warden").main(int(sys.argv[1]), json.loads(sys.argv[2]))
