"""Put the interpreter's own code into huge pages, before this process forks.

A file's pages are mapped anew in every forked process, a few at a time, and each takes its place among the addresses
that the processor remembers; two huge pages are there from the start. Where the kernel has none to give, or the code
fills none, everything stays as it is. Debuggers and profilers no longer see which file the code came from.
"""

import ctypes
import os
from typing import NamedTuple

_SIZE = "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size"
_READ, _WRITE, _EXECUTE = 1, 2, 4
_PRIVATE, _ANONYMOUS = 0x2, 0x20
_MAY_MOVE, _FIXED = 1, 2
_MADV_HUGEPAGE = 14
_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None)
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p]
_libc.mmap.restype = _libc.mremap.restype = ctypes.c_void_p
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.madvise.argtypes = _libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Mapping(NamedTuple):
    """A line of /proc/self/maps."""

    start: int
    end: int
    constant: bool
    """It can be read, and not written."""
    file: str
    """Its device and inode."""


def move_code() -> int:
    """Move what whole huge pages hold of the interpreter's code and constants; bytes moved."""
    if not os.path.exists(_SIZE):
        return 0
    with open(_SIZE) as file:
        huge = int(file.read())
    address = ctypes.cast(ctypes.pythonapi.PyObject_Malloc, ctypes.c_void_p).value or 0
    first, last = constant(mappings(), address)
    start, end = -(-first // huge) * huge, last // huge * huge
    return _move(start, end - start, huge) if start < end else 0


def mappings() -> list[Mapping]:
    """What this process has mapped from files, in order of addresses."""
    found = []
    with open("/proc/self/maps") as file:
        for line in file:
            bounds, access, _, device, inode, *_ = line.split()
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            if inode != "0":
                found.append(Mapping(start, end, access.startswith("r-"), f"{device} {inode}"))
    return found


def constant(maps: list[Mapping], address: int) -> tuple[int, int]:
    """The bounds of what is constant around an address, and comes from one file; empty where nothing is."""
    first, last, file = 0, 0, ""
    for each in maps:
        if each.constant:
            if (each.start, each.file) != (last, file):
                if first <= address < last:
                    break
                first, file = each.start, each.file
            last = each.end
    return (first, last) if first <= address < last else (0, 0)


def _move(start: int, size: int, huge: int) -> int:
    reserved = _libc.mmap(None, size + huge, _READ | _WRITE, _PRIVATE | _ANONYMOUS, -1, 0)
    if reserved == _FAILED:
        return 0
    copy = -(-reserved // huge) * huge
    _libc.madvise(copy, size, _MADV_HUGEPAGE)
    ctypes.memmove(copy, start, size)
    allowed = _libc.mprotect(copy, size, _READ | _EXECUTE) == 0
    # in small pages it would be worse than the file
    moved = allowed and _huge_bytes(copy) >= size
    moved = moved and _libc.mremap(copy, size, size, _MAY_MOVE | _FIXED, start) == start
    if not moved:
        _libc.munmap(copy, size)
    _libc.munmap(reserved, copy - reserved)
    _libc.munmap(copy + size, reserved + huge - copy)
    return size if moved else 0


def _huge_bytes(start: int) -> int:
    """How much of the memory that begins at an address lies in huge pages."""
    with open("/proc/self/smaps") as file:
        for line in file:
            if line.startswith(f"{start:x}-"):
                break
        return next((int(line.split()[1]) << 10 for line in file if line.startswith("AnonHugePages:")), 0)
