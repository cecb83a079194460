"""Fill the holes in this process's memory, before it forks.

A forked process would allocate in them, and have a page of older objects copied for each; memory that was never used
costs less, and what lies there lies together. Filling writes to nothing but what is free, and is never undone.
For CPython's small objects and glibc's heap; whatever else allocates memory is left alone.
"""

import ctypes
import os
import sys

_libc = ctypes.CDLL(None)
_SIZES = [*(1 << power for power in range(16, 10, -1)), *range(1024, 16, -16)]
"""Of heap blocks, the largest first: a hole takes the largest that fit, and then smaller ones."""
_KEPT_BY_FREE = 1040
"""Blocks up to this size are not joined to their neighbours when they are freed."""


class _Info(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = [("unread", ctypes.c_size_t * 9), ("keepcost", ctypes.c_size_t)]


def fill() -> None:
    """Leave no holes."""
    _fill_pools()
    if hasattr(_libc, "mallinfo2"):
        _fill_heap()


def free_blocks() -> dict[int, int]:
    """How many free blocks of each size lie among small objects; empty where CPython does not say."""
    ours, errors = os.memfd_create("holes"), os.dup(2)
    os.dup2(ours, 2)
    try:
        sys._debugmallocstats()
    finally:
        os.dup2(errors, 2)
    told = os.pread(ours, os.fstat(ours).st_size, 0)
    os.close(errors)
    os.close(ours)
    rows = (line.split() for line in told.splitlines())
    # class, size of a block, pools, blocks in use, free blocks
    return {int(row[1]): int(row[4]) for row in rows if len(row) == 5 and all(map(bytes.isdigit, row))}


def _fill_pools() -> None:
    allocate = ctypes.pythonapi.PyObject_Malloc
    allocate.argtypes, allocate.restype = [ctypes.c_size_t], None
    for size, count in free_blocks().items():
        for _ in range(count):
            allocate(size)


def _fill_heap() -> None:
    allocate, free = _libc.malloc, _libc.free
    allocate.argtypes, allocate.restype = [ctypes.c_size_t], ctypes.c_size_t
    free.argtypes, free.restype = [ctypes.c_size_t], None
    top = heap_top()
    for size in _SIZES:
        # a block has eight bytes of glibc's own
        while 0 < (block := allocate(size - 8)) < top:
            pass
        if size > _KEPT_BY_FREE:
            free(block)


def heap_top() -> int:
    """Address above which the heap has only memory that is free."""
    _libc.mallinfo2.restype = _Info
    _libc.sbrk.argtypes, _libc.sbrk.restype = [ctypes.c_ssize_t], ctypes.c_size_t
    return int(_libc.sbrk(0) - _libc.mallinfo2().keepcost)
