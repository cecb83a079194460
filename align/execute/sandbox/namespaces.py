"""Namespaces of level A: how a process gets into its own, as the machine's root and as anybody else.

Ends with the process as pid 1 of a pid namespace, in a root of its own, an unprivileged user outside its namespace.
"""

import errno
import os
import resource
import select
import signal
from typing import NoReturn

from . import libc, root
from .privileges import NOBODY, SYS_ADMIN, can_become_nobody, holds

_SET_PDEATHSIG = 1
_MADE_AT_ONCE = libc.NEWNS | libc.NEWNET | libc.NEWIPC | libc.NEWUTS


def enter(shown: list[str]) -> None:
    """Go on as a forked child in new namespaces; see `jail.enter`.

    Args:
        shown: files and folders to show read-only, beside the interpreter's; absolute paths.

    Raises:
        OSError: what was refused is its file name.
    """
    if _is_root():
        _isolate_as_root(shown)
    else:
        _isolate(shown)
    _become_first()


def _is_root() -> bool:
    """Whether this is the machine's root: one inside a sandbox's user namespace is a user like any other."""
    return can_become_nobody() and holds(SYS_ADMIN)


def _isolate_as_root(shown: list[str]) -> None:
    """The root is built by root, who can read any interpreter; what goes on in it is nobody."""
    libc.unshare("of mount, network, IPC and host name namespaces", _MADE_AT_ONCE)
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    root.build(shown, NOBODY)
    _map_from_outside(proc, "of user and pid namespaces", libc.NEWUSER | libc.NEWPID)
    os.close(proc)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _map_from_outside(proc: int, what: str, flags: int) -> None:
    """Enter a user namespace that has nobody's ids alone: only a process outside it may map these for root.

    Where unprivileged users may make no user namespaces, root may make this one.
    """
    me = os.getpid()
    ready, go = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.close(go)
        failed = 1
        try:
            if os.read(ready, 1):
                _write_maps(f"{me}", NOBODY, NOBODY, proc)
                failed = 0
        finally:
            os._exit(failed)
    try:
        libc.unshare(what, flags)
        os.write(go, b".")
    finally:
        os.close(go)
        os.close(ready)
        status = os.waitpid(helper, 0)[1]
    if status:
        raise OSError(errno.EPERM, "refused to a process outside it", "mapping ids into a user namespace")


def _isolate(shown: list[str]) -> None:
    user, group = os.geteuid(), os.getegid()
    libc.unshare("of a user namespace and others", libc.NEWUSER | libc.NEWPID | _MADE_AT_ONCE)
    _write("/proc/self/setgroups", "deny")
    _write_maps("/proc/self", user, group)
    root.build(shown, user)


def _write_maps(process: str, user: int, group: int, folder: int | None = None) -> None:
    _write(f"{process}/uid_map", f"{user} {user} 1", folder)
    _write(f"{process}/gid_map", f"{group} {group} 1", folder)


def _write(path: str, text: str, folder: int | None = None) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.write(file, text.encode())
    except OSError as error:
        error.filename = f"writing {path}"
        raise
    finally:
        os.close(file)


def _become_first() -> None:
    """Go on as pid 1 of the new pid namespace; the process left outside ends as this one does."""
    outside = os.pidfd_open(os.getpid())
    child = os.fork()
    if child:
        _end_with(child)
    libc.prctl("parent death signal", _SET_PDEATHSIG, signal.SIGKILL)
    # readable when the process outside has died before the line above
    if select.select([outside], [], [], 0)[0]:
        os._exit(1)
    os.close(outside)
    os.setsid()


def _end_with(child: int) -> NoReturn:
    # an end of the supervisor's channel held here would keep it open
    os.closerange(0, os.sysconf("SC_OPEN_MAX"))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 1)
