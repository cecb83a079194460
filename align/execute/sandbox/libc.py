"""Kernel calls that Python's os module lacks, by ctypes. Each raises OSError naming the call; decides nothing."""

import ctypes
import os
from collections.abc import Callable
from functools import partial
from typing import Any

NEWNS, NEWUTS, NEWIPC = 0x0002_0000, 0x0400_0000, 0x0800_0000
NEWUSER, NEWPID, NEWNET = 0x1000_0000, 0x2000_0000, 0x4000_0000
MS_REC, MS_PRIVATE = 0x4000, 0x4_0000
RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_MOVE_FROM_EMPTY_PATH = 4
_MNT_DETACH = 2
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
"""The same numbers on every architecture, as of all calls since Linux 5.1."""
_CAPABILITIES_V3 = 0x2008_0522

_libc = ctypes.CDLL(None, use_errno=True)


def checked(what: str, call: Callable[..., int], *args: Any) -> int:
    """Call into the C library.

    Raises:
        OSError: it returned -1; the file name is `what`.
    """
    result = call(*args)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return result


def syscall(what: str, number: int, *args: Any) -> int:
    """A call that the C library may have no function for; ints are passed at full width."""
    wide = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    return checked(what, _libc.syscall, ctypes.c_long(number), *wide)


def prctl(what: str, option: int, *args: int) -> int:
    """Change a property of this process; missing arguments are zero, as the kernel wants them."""
    wide = [ctypes.c_ulong(arg) for arg in (*args, 0, 0, 0, 0)[:4]]
    return checked(f"prctl {what}", _libc.prctl, ctypes.c_int(option), *wide)


def current_core() -> int:
    """Number of the core that this process runs on."""
    return checked("sched_getcpu", _libc.sched_getcpu)


def unshare(what: str, flags: int) -> None:
    """Leave the caller's namespaces of the given kinds for new ones."""
    checked(f"unshare {what}", _libc.unshare, ctypes.c_int(flags))


def mount(kind: str | None, target: str, flags: int, options: str | None = None) -> None:
    """Mount a file system of a kind, or change how a mount propagates where the kind is None."""
    name = kind.encode() if kind else None
    data = options.encode() if options else None
    checked(f"mount {target}", _libc.mount, name, target.encode(), name, ctypes.c_ulong(flags), data)


def clone_tree(path: str) -> int:
    """Descriptor of a copy of the mounts at and below a path, attached nowhere yet."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE
    return syscall(f"open_tree {path}", _OPEN_TREE, _AT_FDCWD, path.encode(), flags)


def attach_tree(tree: int, target: str) -> None:
    """Attach what `clone_tree` gave."""
    syscall(f"move_mount {target}", _MOVE_MOUNT, tree, b"", _AT_FDCWD, target.encode(), _MOVE_FROM_EMPTY_PATH)


def restrict_mounts(at: int | str, flags: int, *, recursive: bool) -> None:
    """Add flags (read-only, …) to a mount; those it has already stay, as they may be locked."""
    attributes = ctypes.create_string_buffer(flags.to_bytes(8, "little") + bytes(24), 32)
    folder, path = (at, b"") if isinstance(at, int) else (_AT_FDCWD, at.encode())
    how = (_AT_EMPTY_PATH if isinstance(at, int) else 0) | (_AT_RECURSIVE if recursive else 0)
    syscall(f"mount_setattr {at}", _MOUNT_SETATTR, folder, path, how, attributes, 32)


def pivot_here() -> None:
    """Make the current directory, a mount point, the root; the old root is gone."""
    checked("pivot_root", _libc.pivot_root, b".", b".")
    checked("umount of the old root", _libc.umount2, b".", _MNT_DETACH)
    os.chdir("/")


def namespace_entrance(pidfd: int, kind: int) -> Callable[[], int]:
    """A prepared setns: it enters the namespaces of a process, and returns 0 or -1."""
    return partial(_libc.setns, ctypes.c_int(pidfd), ctypes.c_int(kind))


def namespace_exit(kind: int) -> Callable[[], int]:
    """A prepared unshare: it returns 0 or -1."""
    return partial(_libc.unshare, ctypes.c_int(kind))


def last_error(what: str) -> OSError:
    """The error of the prepared call that has just returned -1."""
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code), what)


def set_capabilities(mask: int) -> Callable[[], int]:
    """A prepared capset of the effective and permitted sets, none inheritable; it returns 0 or -1."""
    header = ctypes.create_string_buffer(_CAPABILITIES_V3.to_bytes(4, "little") + bytes(4), 8)
    low, high = (mask & 0xFFFF_FFFF).to_bytes(4, "little"), (mask >> 32).to_bytes(4, "little")
    sets = ctypes.create_string_buffer((low * 2 + bytes(4)) + (high * 2 + bytes(4)), 24)
    return partial(_libc.capset, header, sets)


def filter_installer(program: ctypes.Structure) -> Callable[[], int]:
    """A prepared prctl that installs a seccomp filter; it returns 0 or -1."""
    return partial(_libc.prctl, ctypes.c_int(22), ctypes.c_ulong(2), ctypes.byref(program))
