"""Take a zygote, and the processes it forks, out of reach of the machine. Judges nothing; runs no program.

`enter` once, in the warden, `adopt` in its zygote; `fork` and `lock` for every process. By level:

    A     namespaces of its own (user, pid, mount, network, IPC, host name), a root with nothing but the interpreter,
          an unprivileged user, Landlock where the kernel has it, a pid namespace a process, no capabilities, seccomp.
    B     without namespaces: Landlock, no capabilities, a stricter seccomp filter. No writable place at all, as no
          quota could be kept there; names, sizes and modes of the machine's files can be asked for, not changed.
    none  resource limits only.

RLIMIT_NPROC does not bind the machine's uid 0 (level A or B inside another sandbox's user namespace, level none as
root): threads are bounded by memory there, and processes cannot be forked at levels A and B.
"""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple, get_args

from . import landlock, libc, namespaces, privileges, root, seccomp
from .seccomp import Role

Level = Literal["A", "B", "none"]

FILE_BYTES: dict[Role, int] = {"candidate": 16 << 20, "tester": 64 << 20}
"""Largest file, memory files included, that a process may write."""
OPEN_FILES = 256
NAMESPACE = OPEN_FILES - 1
"""Descriptor by which the pid namespace is entered again, out of the way of all others."""
PROCESSES = 64
_SHARED_PROCESSES = 256
"""The same where the user's other processes count too and may grow in number."""
FOREVER, EVERYTHING = 1_000_000_000, 1 << 62
"""CPU seconds and bytes of a process that is not limited."""
_SET_NO_NEW_PRIVS = 38


class JailError(Exception):
    """The level cannot be reached: what failed, in words; `errno` where the kernel refused."""

    def __init__(self, what: str, errno: int | None = None) -> None:
        super().__init__(what)
        self.errno = errno


class Place(NamedTuple):
    """Where a zygote and its processes live."""

    level: Level
    shown: tuple[str, ...] = ()
    """Files and folders to read, beside the interpreter's own; `where` they are afterwards. Absolute paths.
    Level B shows them but not the folder they lie in: import packages before entering."""
    work: str | None = None
    """Level none: the folder that becomes the current one, the home and the place of temporary files."""


def _most(what: int, wanted: int) -> int:
    """As much of a resource as is wanted, if this process has it itself: `ulimit` may have been used."""
    hard = resource.getrlimit(what)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


class _State:
    """What `enter` prepared for `fork` and `lock`.

    Args:
        level: of isolation.
        processes: of a user.
        filters: each installs one.
        back: makes the zygote's own pid namespace the one that children are born into.
        away: makes a new pid namespace for the next child.
        powerless: drops every capability.
    """

    # neither a named tuple, whose fields cost more to read, nor a dataclass, whose module costs every fork
    __slots__ = ("away", "back", "cpu_seconds", "filters", "level", "memory_bytes", "powerless", "processes")

    def __init__(
        self,
        level: Level,
        processes: int,
        filters: dict[seccomp.Part, seccomp.Install],
        back: Callable[[], int] = int,
        away: Callable[[], int] = int,
        powerless: Callable[[], int] = int,
    ) -> None:
        self.level, self.processes, self.filters = level, processes, filters
        self.back, self.away, self.powerless = back, away, powerless
        self.cpu_seconds = _most(resource.RLIMIT_CPU, FOREVER + 1) - 1
        self.memory_bytes = _most(resource.RLIMIT_AS, EVERYTHING)


_state: _State | None = None
_is_zygote = False
_moved: dict[str, str] = {}


def enter(place: Place) -> None:
    """Move this process, single-threaded, into the place. At level A it goes on as a forked child, pid 1 of its own.

    The process that called waits for that child and ends as it does; the child is killed when that process dies.
    Both end when the child does: it must notice by its own channel that the supervisor has gone.

    Raises:
        JailError: the machine does not allow it. The process is in no defined state then and should exit.
    """
    global _state
    if (found := _most(resource.RLIMIT_NOFILE, OPEN_FILES)) < OPEN_FILES:
        raise JailError(f"`ulimit -n` is {found}: {OPEN_FILES} open files are needed")
    try:
        _state = {"A": _enter_a, "B": _enter_b, "none": _enter_none}[place.level](place)
    except OSError as error:
        code = error.errno or 0
        raise JailError(f"{error.filename}: {error.strerror}", code) from error
    except seccomp.Unsupported as error:
        raise JailError(str(error)) from error


def where(path: str) -> str:
    """Where a path that was to be shown is to be found, after `enter`."""
    return _moved.get(path, path)


def fork() -> int:
    """Like os.fork, the child in a process group of its own and at level A in a pid namespace of its own.

    Killing that child kills all it started.
    """
    state = _entered()
    if state.back() == -1 or state.away() == -1:
        raise libc.last_error("a pid namespace")
    pid = os.fork()
    if pid == 0:
        _part()
    return pid


def _part() -> None:
    # a process group shared with the zygote could be signalled as a whole; a session costs more
    os.setpgid(0, 0)
    if _entered().level == "A":
        os.close(NAMESPACE)


@contextmanager
def rehearsing() -> Iterator[Callable[[], None]]:
    """Meanwhile `lock` takes nothing from this process but what its limits say; gives what a forked process does."""
    global _is_zygote

    def part() -> None:
        if state.level == "A":
            os.dup2(2, NAMESPACE)
        _part()

    state = _entered()
    powerless, filters = state.powerless, state.filters
    state.powerless, state.filters = int, dict.fromkeys(filters, _install_nothing)
    _is_zygote = True
    yield part
    state.powerless, state.filters = powerless, filters
    _is_zygote = False


def _install_nothing(pid: int) -> None:
    """In place of a filter."""


def adopt() -> None:
    """Make this process, forked by os.fork alone in the place if at all, a zygote: what it forks become candidates.

    Cannot be undone: only what a zygote does is possible from here.
    """
    global _is_zygote
    state = _entered()
    if state.level == "A":
        _mark_namespace()
    limit("candidate")
    if state.filters:
        state.filters["zygote"](os.getpid())
    _is_zygote = True


def _mark_namespace() -> None:
    # no process may go by another's descriptor: that takes the right to trace it
    own = os.pidfd_open(os.getpid())
    os.dup2(own, NAMESPACE, inheritable=False)
    os.close(own)


def limit(role: Role) -> None:
    """Set the limits that all processes of a role share, in one of them or in the process that forks them."""
    state = _entered()
    limits = {
        resource.RLIMIT_FSIZE: FILE_BYTES[role],
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    if state.level != "none":
        limits |= {
            resource.RLIMIT_NPROC: state.processes,
            resource.RLIMIT_MEMLOCK: 0,
            resource.RLIMIT_MSGQUEUE: 0,
        }
    for what, wanted in limits.items():
        most = _most(what, wanted)
        resource.setrlimit(what, (most, most))


def lock(role: Role, memory_bytes: int, cpu_seconds: int) -> None:
    """Take everything from this forked process that its role does not need; after `limit`. Cannot be undone.

    Args:
        role: what the process is to do.
        memory_bytes: address space.
        cpu_seconds: then the kernel sends SIGXCPU (which pid 1 ignores), and a second later SIGKILL.

    Both are less where this process was itself given less.
    """
    state = _entered()
    if role == "candidate" and not _is_zygote:
        raise JailError("a candidate is forked by a zygote, of which it has most of its filter")
    memory_bytes, cpu_seconds = min(memory_bytes, state.memory_bytes), min(cpu_seconds, state.cpu_seconds)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    if state.level == "none":
        return
    if state.powerless() == -1:
        raise libc.last_error("capset")
    state.filters[role](os.getpid())


def _entered() -> _State:
    if _state is None:
        raise JailError("fork and lock come after enter")
    return _state


def _enter_none(place: Place) -> _State:
    if place.work is not None:
        _settle(place.work)
    return _State("none", PROCESSES, {})


def _settle(folder: str) -> None:
    os.chdir(folder)
    os.environ["HOME"] = os.environ["TMPDIR"] = folder


def _enter_b(place: Place) -> _State:
    filters = _filters(namespaced=False)
    if not landlock.abi():
        raise JailError("the kernel has no Landlock, or it is switched off")
    readable = [*root.interpreter_paths(), *place.shown, *_present(root.DEVICES)]
    _settle("/")
    privileges.give_up_root(readable)
    processes = privileges.count_processes(os.getuid()) + _SHARED_PROCESSES
    privileges.drop_bounds()
    if libc.set_capabilities(0)() == -1:
        raise libc.last_error("capset")
    libc.prctl("no_new_privs", _SET_NO_NEW_PRIVS, 1)
    landlock.enter(readable, root.WRITABLE_DEVICES)
    return _State("B", processes, filters, powerless=libc.set_capabilities(0))


def _enter_a(place: Place) -> _State:
    filters = _filters(namespaced=True)
    namespaces.enter(list(place.shown))
    _moved.update(root.places(place.shown))
    _settle(root.BOX)
    privileges.drop_bounds()
    libc.prctl("no_new_privs", _SET_NO_NEW_PRIVS, 1)
    if landlock.abi():
        landlock.enter(["/"], [root.BOX, *_present(root.WRITABLE_DEVICES)])
    if libc.set_capabilities(1 << privileges.SYS_ADMIN)() == -1:
        raise libc.last_error("capset")
    _mark_namespace()
    return _State(
        "A",
        PROCESSES,
        filters,
        back=libc.namespace_entrance(NAMESPACE, libc.NEWPID),
        away=libc.namespace_exit(libc.NEWPID),
        powerless=libc.set_capabilities(0),
    )


def _filters(*, namespaced: bool) -> dict[seccomp.Part, seccomp.Install]:
    may_truncate = namespaced or landlock.abi() >= 3
    parts: tuple[seccomp.Part, ...] = get_args(seccomp.Part)
    return {part: seccomp.prepare(part, namespaced=namespaced, may_truncate=may_truncate) for part in parts}


def _present(paths: list[str]) -> list[str]:
    return [path for path in paths if os.path.exists(path)]
