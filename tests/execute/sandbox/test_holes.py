"""Filling holes: what is allocated afterwards lies in memory that was never used before."""

import json
import subprocess
import sys
from pathlib import Path

import align.execute

SANDBOX = Path(align.execute.__file__).parent
POOL = 16 << 10
"""CPython's, in bytes."""
SCRIPT = """
import ctypes, gc, json, sys
sys.path.insert(0, sys.argv[1])
from sandbox import holes

libc = ctypes.CDLL(None)
libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_size_t
kept = [bytes(size % 1500) for size in range(20_000)]
del kept[::2]
gc.collect()

def seen():
    glibc = hasattr(libc, "mallinfo2")
    above = [libc.malloc(size) >= holes.heap_top() - size - 64 for size in (600, 1500, 5000)] if glibc else [True]
    return {"free": holes.free_blocks(), "above": above}

before = seen()
holes.fill()
print(json.dumps([before, seen(), [len(found) for found in kept] == [size % 1500 for size in range(1, 20_000, 2)]]))
"""


def test_what_is_freed_in_between_is_not_used_again():
    run = subprocess.run(
        [sys.executable, "-s", "-P", "-S", "-c", SCRIPT, str(SANDBOX)], capture_output=True, text=True, check=True
    )
    before, after, intact = json.loads(run.stdout)
    assert intact, "what was allocated has changed"
    if after["free"]:  # CPython says
        assert sum(before["free"].values()) > 5_000
        # what was allocated meanwhile has begun a new pool
        assert all(count < POOL / int(size) for size, count in after["free"].items())
    assert all(after["above"])
    assert before["above"] != after["above"] or before["above"] == [True], "there were no holes: the test shows nothing"


def test_descriptors_and_stderr_are_left_as_they_were():
    script = "\n".join(
        [
            "import os, sys",
            f"sys.path.insert(0, {str(SANDBOX)!r})",
            "from sandbox import holes",
            "before = sorted(os.listdir('/proc/self/fd'))",
            "holes.fill()",
            "assert sorted(os.listdir('/proc/self/fd')) == before",
            "os.write(2, b'here')",
        ]
    )
    run = subprocess.run([sys.executable, "-s", "-P", "-S", "-c", script], capture_output=True, text=True, check=True)
    assert run.stderr == "here"
