"""Which system calls a program may make: an allow-list as a seccomp filter, for x86-64 and aarch64.

Covers the numbers and the arguments that are plain integers. Does not look behind pointers, so calls whose harm lies
there (connect, sendmsg, clone3, openat2) are refused, and paths are left to the mount namespace and Landlock.
Built by hand: pyseccomp needs a libseccomp.so on the machine, and the filter is a page of code.

Refused calls fail with EPERM, unknown ones too; another instruction set's calls (i386, x32) kill.

Installing a filter takes time that grows with its length. A candidate therefore inherits most of its filter from its
zygote, and adds only what the zygote must be allowed to do: whatever either refuses is refused.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterable
from typing import Literal

from . import libc
from .syscalls import AARCH64, X86_64

Role = Literal["candidate", "tester"]
Part = Literal["zygote", "candidate", "tester"]
"""A filter: the zygote's and the candidate's together are the candidate's."""

_ARCHITECTURES = {"x86_64": (0xC000_003E, X86_64), "aarch64": (0xC000_00B7, AARCH64)}
_X32 = 0x4000_0000
_LOAD, _AND, _GIVE = 0x20, 0x54, 0x06
_EQUAL, _AT_LEAST = 0x15, 0x35
_ALLOW, _KILL, _REFUSE = 0x7FFF_0000, 0x8000_0000, 0x0005_0000 | errno.EPERM
_MISSING = 0x0005_0000 | errno.ENOSYS
_OWN_PID, _FIRST_PID = 0x7FFF_FFF1, 1
"""Stands for the process's id until the filter is installed; the id of every process in a pid namespace of its own."""

_CLONE_THREAD, _CLONE_NEW = 0x0001_0000, 0x7E02_0080
_AF_UNIX = 1
_FCNTL = [*range(8), 1030]
"""Duplicating, flags and record locks. Not: owners and their signals, leases, seals."""
_IOCTL = [0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451, 0x802C_542A]
"""Is it a terminal, its size, bytes to read, (non-)blocking, (no) inheritance. Not: owners, typing for the user."""
_PRCTL = [15, 16]
"""A thread's name."""
_PATHS = """
    unlink unlinkat mkdir mkdirat rmdir rename renameat renameat2 link linkat symlink symlinkat truncate
    chmod fchmod fchmodat fchmodat2 utime utimes futimesat utimensat
"""
"""Calls that change what lies on a disk: only for processes that see nothing but their own."""
_TESTER = ["memfd_create", "sendmsg", "recvmsg"]
_ZYGOTE = ["unshare", "setns", "setpgid", "capset"]
_BIRTH = ["clone", "prctl", "recvmsg", *_ZYGOTE]
"""Calls that bear a candidate: its own filter decides, not its zygote's."""
_SIGNALS = ["kill", "tgkill"]
"""They may name the process itself, whose id differs where it has no pid namespace."""

Install = Callable[[int], None]
"""Installs a filter in this process, whose id is given. Raises OSError."""
Code = list[tuple[int, int, int, int]]
"""Instructions: code, jump if true, jump if false, operand."""


class Unsupported(Exception):
    """There is no filter for this machine's architecture."""


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def prepare(part: Part, *, namespaced: bool, may_truncate: bool) -> Install:
    """Build a filter, and have it ready for every process.

    Args:
        part: testers may also make memory files and pass descriptors.
        namespaced: the process sees no path that anybody else can see: it may rename, delete, change modes. It is the
            first process that it sees.
        may_truncate: opening may also empty a file; False where Landlock cannot tell (below ABI 3).

    Raises:
        Unsupported: neither x86-64 nor aarch64.
    """
    code = build(part, namespaced=namespaced, may_truncate=may_truncate)
    packed = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in code))
    places = [8 * index + 4 for index, step in enumerate(code) if step[3] == _OWN_PID]
    program = _Program(len(code), ctypes.addressof(packed))
    call = libc.filter_installer(program)

    def install(pid: int) -> None:
        for place in places:
            struct.pack_into("<I", packed, place, pid)
        if call() == -1:
            raise libc.last_error("seccomp")

    return install


def build(part: Part, *, namespaced: bool, may_truncate: bool, machine: str | None = None) -> Code:
    """The filter's instructions, for this machine's architecture or another's. Raises Unsupported."""
    machine = machine or os.uname().machine
    if machine not in _ARCHITECTURES:
        raise Unsupported(f"no seccomp filter for {machine}: only {' and '.join(_ARCHITECTURES)}")
    architecture, numbers = _ARCHITECTURES[machine]
    verdicts = _verdicts(part, numbers, namespaced=namespaced, may_truncate=may_truncate)
    if part == "candidate":
        # what the zygote's kills is killed already
        return _load(0) + _Assembly().one_by_one(verdicts, _answer(_ALLOW))
    code = [*_load(4), (_EQUAL, 1, 0, architecture), (_GIVE, 0, 0, _KILL), *_load(0)]
    if machine == "x86_64":
        code += [(_AT_LEAST, 0, 1, _X32), (_GIVE, 0, 0, _KILL)]
    return code + _Assembly().searched(_ranges(verdicts, _answer(_REFUSE)))


def _verdicts(part: Part, numbers: dict[str, int], *, namespaced: bool, may_truncate: bool) -> dict[int, Code]:
    """What each call meets: instructions that end in an answer."""
    named: dict[str, Code] = dict.fromkeys(numbers, _answer(_ALLOW))
    named |= _conditions(_FIRST_PID if namespaced else _OWN_PID, may_truncate=may_truncate)
    named["clone3"] = _answer(_MISSING)
    refused = [*_ZYGOTE, *([] if namespaced else _PATHS.split()), *([] if part == "tester" else _TESTER)]
    named |= dict.fromkeys(refused, _answer(_REFUSE))
    own = [*_BIRTH, *([] if namespaced else _SIGNALS)]
    if part == "zygote":
        named |= dict.fromkeys(own, _answer(_ALLOW))
    if part == "candidate":
        named = {name: named[name] for name in own}
    return {numbers[name]: code for name, code in named.items() if name in numbers}


def _conditions(own_pid: int, *, may_truncate: bool) -> dict[str, Code]:
    tests = {
        # C libraries fall back to clone when clone3 is missing: its flags lie behind a pointer, clone's do not
        "clone": _masked(0, _CLONE_THREAD | _CLONE_NEW, _CLONE_THREAD),
        "kill": _one_of(0, [own_pid]),
        "tgkill": _one_of(0, [own_pid]),
        "prlimit64": _one_of(0, [0]),
        "fcntl": _one_of(1, _FCNTL),
        "ioctl": _one_of(1, _IOCTL),
        "prctl": _one_of(0, _PRCTL),
        "socketpair": _one_of(0, [_AF_UNIX]),
        "sendto": _null(4),
    }
    if not may_truncate:
        tests |= {"open": _masked(1, os.O_TRUNC, 0), "openat": _masked(2, os.O_TRUNC, 0)}
    return tests


def _load(offset: int) -> Code:
    return [(_LOAD, 0, 0, offset)]


def _answer(action: int) -> Code:
    return [(_GIVE, 0, 0, action)]


def _one_of(argument: int, values: Iterable[int]) -> Code:
    """Allowed if the low half of an argument is one of the values; the kernel looks at no more of an int."""
    values = list(values)
    tests: Code = [(_EQUAL, len(values) - index, 0, value) for index, value in enumerate(values)]
    return [*_load(16 + 8 * argument), *tests, *_answer(_REFUSE), *_answer(_ALLOW)]


def _masked(argument: int, mask: int, wanted: int) -> Code:
    test: Code = [(_AND, 0, 0, mask), (_EQUAL, 1, 0, wanted)]
    return [*_load(16 + 8 * argument), *test, *_answer(_REFUSE), *_answer(_ALLOW)]


def _null(argument: int) -> Code:
    low, high = _load(16 + 8 * argument), _load(20 + 8 * argument)
    tests: Code = [(_EQUAL, 0, 2, 0), *high, (_EQUAL, 1, 0, 0)]
    return [*low, *tests, *_answer(_REFUSE), *_answer(_ALLOW)]


def _ranges(verdicts: dict[int, Code], other: Code) -> list[tuple[int, Code]]:
    """Neighbouring numbers with one verdict, as (first number, verdict); what is not among them meets `other`."""
    ranges = [(0, verdicts.get(0, other))]
    for number in range(1, max(verdicts) + 2):
        verdict = verdicts.get(number, other)
        if verdict != ranges[-1][1]:
            ranges.append((number, verdict))
    return ranges


class _Assembly:
    """A filter written from its end, as jumps go forward only: equal answers are written once."""

    def __init__(self) -> None:
        self._backwards: Code = []
        self._places: dict[tuple[tuple[int, int, int, int], ...], int] = {}

    def searched(self, ranges: list[tuple[int, Code]]) -> Code:
        """A binary search for a call's number: at install, the kernel runs the filter once for each number."""
        self._search(ranges)
        return self._code()

    def one_by_one(self, verdicts: dict[int, Code], other: Code) -> Code:
        """A call's number compared with one after another: shorter than a search where they are few."""
        places = {number: self._verdict(code) for number, code in verdicts.items()}
        self._backwards += other[::-1]
        for number, place in places.items():
            self._backwards.append((_EQUAL, len(self._backwards) - place - 1, 0, number))
        return self._code()

    def _search(self, ranges: list[tuple[int, Code]]) -> int:
        if len(ranges) == 1:
            return self._verdict(ranges[0][1])
        middle = len(ranges) // 2
        above, below = self._search(ranges[middle:]), self._search(ranges[:middle])
        here = len(self._backwards)
        self._backwards.append((_AT_LEAST, here - above - 1, here - below - 1, ranges[middle][0]))
        return here

    def _code(self) -> Code:
        """The instructions from first to last. Raises OverflowError where a jump does not fit into a byte."""
        if any(max(step[1], step[2]) > 255 for step in self._backwards):
            raise OverflowError("a seccomp jump is too long")
        return self._backwards[::-1]

    def _verdict(self, code: Code) -> int:
        key = tuple(code)
        if key not in self._places:
            self._backwards += code[::-1]
            self._places[key] = len(self._backwards) - 1
        return self._places[key]
