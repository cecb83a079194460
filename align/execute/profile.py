"""Which interpreter programs run in, and what it has imported before they start.

`std` and `numpy` are chosen for each program by what it mentions; both offer numpy and no other third-party package.
A profile of one's own names an interpreter or a virtual environment, and is part of every result's key.
"""

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..schema import content_id

PRELOAD = (
    "bisect",
    "collections",
    "copy",
    "datetime",
    "decimal",
    "fractions",
    "functools",
    "heapq",
    "itertools",
    "json",
    "math",
    "operator",
    "random",
    "re",
    "string",
    "typing",
)
"""What most programs import: loaded once instead of once a program."""
_ASK = """
import json, sys, sysconfig
paths = sysconfig.get_paths()
told = {"executable": sys.executable, "version": list(sys.version_info[:3]),
    "site": sorted({paths["purelib"], paths["platlib"]})}
"""


@dataclass(frozen=True)
class Interpreter:
    """What an interpreter says of itself."""

    executable: str
    version: tuple[int, ...]
    site: tuple[str, ...]
    """Its folders of third-party packages."""


@dataclass(frozen=True)
class Profile:
    """An interpreter and what programs find in it."""

    python: str | None = None
    """An interpreter, or the folder of a virtual environment; by default the interpreter that runs now, of whose
    third-party packages programs see numpy only."""
    modules: tuple[str, ...] = ()
    """Imported before programs start, beside the common parts of the standard library."""

    @cached_property
    def interpreter(self) -> Interpreter:
        """What runs the programs.

        Raises:
            ConfigError: there is no such interpreter, or it is too old.
        """
        return _ask(_executable(self.python))

    @cached_property
    def packages(self) -> dict[str, str]:
        """Third-party packages that programs may import → the folder each lies in; empty where all may be."""
        return {"numpy": folder} if self.python is None and (folder := _numpy_folder()) else {}

    @cached_property
    def site(self) -> tuple[str, ...]:
        """Folders of which programs may import everything."""
        return () if self.python is None else self.interpreter.site

    @cached_property
    def key(self) -> str:
        """Hash of everything that results may depend on."""
        return content_id([self.interpreter.version, self.packages and True, self.site, self.modules])

    def config(self) -> dict[str, Any]:
        """What a zygote is told."""
        return {
            "modules": [*PRELOAD, *self.modules],
            "packages": self.packages,
            "site": list(self.site),
            "shown": [*self.site, *(path for name, folder in self.packages.items() for path in _parts(name, folder))],
        }


STD = Profile()
NUMPY = Profile(modules=("numpy",))
"""The same, with numpy imported: importing it in every program would cost each some 100 ms."""
STANDARD = {"std": STD, "numpy": NUMPY}
"""Profiles by the name that a program has for what it mentions."""


def _executable(python: str | None) -> str:
    if python is None:
        return sys.executable
    path = Path(python).expanduser()
    return str(path / "bin" / "python" if path.is_dir() else path)


@cache
def _ask(executable: str) -> Interpreter:
    told = _of_this() if executable == sys.executable else _of_another(executable)
    return Interpreter(told["executable"], tuple(told["version"]), tuple(told["site"]))


def _of_this() -> dict[str, Any]:
    space: dict[str, Any] = {}
    exec(_ASK, space)
    told: dict[str, Any] = space["told"]
    return told


def _of_another(executable: str) -> dict[str, Any]:
    try:
        run = subprocess.run(
            [executable, "-I", "-c", f"{_ASK}print(json.dumps(told))"], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"profile: {executable}: {error}: name an interpreter, or a virtual environment") from None
    if run.returncode:
        raise ConfigError(f"profile: {executable} is no Python interpreter: {run.stderr.strip()[-200:]}")
    told: dict[str, Any] = json.loads(run.stdout)
    if tuple(told["version"]) < (3, 11):
        version = ".".join(map(str, told["version"]))
        raise ConfigError(f"profile: {executable} is Python {version}: programs are run by 3.11 or later")
    return told


def _parts(package: str, folder: str) -> list[str]:
    """A package's folder, and the one in which its wheel keeps shared libraries."""
    return [str(path) for path in (Path(folder, package), Path(folder, f"{package}.libs")) if path.is_dir()]


@cache
def _numpy_folder() -> str:
    """Where numpy is installed, found without importing it; empty where it is not."""
    spec = importlib.util.find_spec("numpy")
    return str(Path(spec.origin).parents[1]) if spec and spec.origin else ""
