"""The file system that programs see at level A: a read-only root with the interpreter, and an empty /box of memory.

Needs a mount namespace of its own and CAP_SYS_ADMIN over it. No /proc, /sys, /etc, /tmp or home; no site-packages but
the packages asked for. Also lists what an interpreter loads from, which level B lets through Landlock.
"""

import glob
import os
import stat
import sys
from collections.abc import Iterable

from . import libc

PACKAGES = "/packages"
BOX = "/box"
"""The one writable folder."""
WRITABLE_DEVICES = ["/dev/null", "/dev/zero"]
DEVICES = [*WRITABLE_DEVICES, "/dev/random", "/dev/urandom"]
_SYSTEM = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo"]
_SCAFFOLD = "/dev"
"""Where the new root is mounted before it becomes the root: a folder that every machine has."""
_SEALED = libc.RDONLY | libc.NOSUID | libc.NODEV


def interpreter_paths() -> list[str]:
    """Existing folders that this interpreter and its C libraries load from; links among them are not resolved."""
    prefixes = (sys.base_prefix, sys.base_exec_prefix)
    own = {os.path.join(prefix, name) for prefix in prefixes for name in ("lib", sys.platlibdir)}
    return [path for path in [*_SYSTEM, *sorted(own.difference(_SYSTEM))] if os.path.isdir(path)]


def places(shown: Iterable[str]) -> dict[str, str]:
    """Where each path is shown: not at its own, which would tell what the machine's folders are called.

    Neighbours stay neighbours: a wheel finds its libraries beside it.
    """
    folders = sorted({os.path.dirname(path) for path in shown})
    return {path: f"{PACKAGES}/{folders.index(os.path.dirname(path))}/{os.path.basename(path)}" for path in shown}


def build(shown: Iterable[str], owner: int) -> None:
    """Make the new root and enter it, with /box as the current directory.

    Args:
        shown: files and folders to show read-only, beside the interpreter's; see `places`.
        owner: user and group that /box belongs to.
    """
    libc.mount(None, "/", libc.MS_REC | libc.MS_PRIVATE)
    interpreter = interpreter_paths()
    links = {path: os.readlink(path) for path in interpreter if os.path.islink(path)}
    # descriptors outlive the old root: nothing below is looked up in it
    libraries = _clone([path for path in interpreter if path not in links], _SEALED)
    targets = places(shown)
    packages = {targets[path]: tree for path, tree in _clone(shown, _SEALED).items()}
    devices = _clone([path for path in DEVICES if os.path.exists(path)], _SEALED & ~libc.NODEV)
    _mount_memory(_SCAFFOLD, "mode=755,size=1m,nr_inodes=4096")
    os.chdir(_SCAFFOLD)
    libc.pivot_here()
    for path, target in links.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(target, path)
    _attach(devices | libraries)
    closed = _close_package_folders(libraries)
    _attach(packages)
    os.mkdir(BOX)
    for path in ["/", *closed]:
        libc.restrict_mounts(path, _SEALED, recursive=False)
    _mount_memory(BOX, f"mode=700,size=16m,nr_inodes=256,uid={owner},gid={owner}")
    os.chdir(BOX)


def _clone(paths: Iterable[str], flags: int) -> dict[str, int]:
    trees = {}
    for path in paths:
        trees[path] = libc.clone_tree(path)
        libc.restrict_mounts(trees[path], flags, recursive=True)
    return trees


def _mount_memory(path: str, options: str) -> None:
    libc.mount("tmpfs", path, libc.NOSUID | libc.NODEV, options)


def _attach(trees: dict[str, int]) -> None:
    """Attach each tree at its path, outer ones first; what an outer one shows already is left."""
    for path, tree in sorted(trees.items()):
        if not os.path.exists(path):
            _make_place(path, folder=stat.S_ISDIR(os.fstat(tree).st_mode))
            libc.attach_tree(tree, path)
        os.close(tree)


def _make_place(path: str, *, folder: bool) -> None:
    os.makedirs(path if folder else os.path.dirname(path), exist_ok=True)
    if not folder:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


def _close_package_folders(libraries: Iterable[str]) -> list[str]:
    """Cover the packages installed for everybody: only those asked for are to be found."""
    places = [f"{path}/python3*/{name}" for path in libraries for name in ("site-packages", "dist-packages")]
    closed = [found for place in places for found in glob.glob(place)]
    for path in closed:
        _mount_memory(path, "mode=755,size=1m,nr_inodes=4096")
    return closed
