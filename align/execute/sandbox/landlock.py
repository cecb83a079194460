"""Landlock: which paths a process and its children may still reach. Built and entered once by the zygote.

Covers reading, executing and writing by path, TCP (ABI 4), devices' ioctls (5), signals and abstract sockets to the
outside (6). Does not cover what has no rule in the kernel: stat, chmod and the like, unix sockets by path,
truncation below ABI 3. The seccomp filter does.
"""

import os
import struct
from collections.abc import Iterable

from . import libc

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_BENEATH = 1
_MAKE_CHAR, _MAKE_SOCK, _MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 11
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | _TRUNCATE | _IOCTL_DEV
"""Rights that a rule on a file, not a folder, may give."""
_NEVER = EXECUTE | _MAKE_CHAR | _MAKE_SOCK | _MAKE_BLOCK | _IOCTL_DEV
"""Rights that no writable place gives."""


def abi() -> int:
    """The kernel's Landlock version; 0 where there is none, or where it is switched off."""
    try:
        return libc.syscall("landlock_create_ruleset", _CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def enter(readable: Iterable[str], writable: Iterable[str]) -> None:
    """Give up, for good, every path that is not listed. Needs no_new_privs or CAP_SYS_ADMIN.

    Args:
        readable: files and folders to read and execute from, with all below them.
        writable: files to write, and folders where everything but sockets, devices and programs may be made.

    Raises:
        OSError: the kernel has no Landlock, or a path is missing.
    """
    version = abi()
    handled = _file_rights(version)
    ruleset = _create(handled, version)
    try:
        for path in readable:
            _allow(ruleset, path, (EXECUTE | READ_FILE | READ_DIR) & handled)
        for path in writable:
            _allow(ruleset, path, handled & ~_NEVER)
        libc.syscall("landlock_restrict_self", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _file_rights(version: int) -> int:
    count = 13 + (version >= 2) + (version >= 3) + (version >= 5)
    return (1 << count) - 1


def _create(handled: int, version: int) -> int:
    network = 0b11 if version >= 4 else 0
    scopes = 0b11 if version >= 6 else 0
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    attributes = struct.pack("<QQQ", handled, network, scopes)[:size]
    return libc.syscall("landlock_create_ruleset", _CREATE_RULESET, attributes, size, 0)


def _allow(ruleset: int, path: str, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights = rights if os.path.isdir(path) else rights & _OF_FILES
        rule = struct.pack("<Qi", rights, place)
        libc.syscall(f"landlock_add_rule {path}", _ADD_RULE, ruleset, _BENEATH, rule, 0)
    finally:
        os.close(place)
