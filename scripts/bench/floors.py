"""Run checks with no isolation at all, in this process or in one fork each: what no sandbox can undercut.

    python -I -S scripts/bench/floors.py in_process|fork_exec CHECKS.json OUT.json

Standard library only, and as few modules as programs need: the forks are as cheap as Python's can be. Only for programs
that are known to end.
"""

import collections
import contextlib
import gc
import io
import itertools
import json
import math
import os
import re
import sys
import time
import typing

PRELOADED = (collections, itertools, math, re, typing)
"""What most programs import; a zygote has it, too."""


def main(method: str, checks: str, out: str) -> None:
    """Run the checks of a file; write seconds and which of them passed."""
    with open(checks, encoding="utf-8") as file:
        work = json.load(file)
    sys.path += work["path"]
    if any(check["numpy"] for check in work["checks"]):
        import numpy  # noqa: F401
    gc.freeze()
    run = METHODS[method]
    started = time.monotonic()
    passed = [run(check["source"]) for check in work["checks"]]
    seconds = time.monotonic() - started
    with open(out, "w", encoding="utf-8") as file:
        json.dump({"seconds": seconds, "passed": passed}, file)


def in_process(source: str) -> bool:
    """Whether the program ends without an exception, here."""
    # the one before may have raised it
    sys.setrecursionlimit(1000)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            exec(compile(source, "<program>", "exec", dont_inherit=True), {"__name__": "__main__"})
        except BaseException:
            return False
    return True


def fork_exec(source: str) -> bool:
    """The same in a child; it ends without Python's clean-up."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if in_process(source) else 1)
    _, status = os.waitpid(pid, 0)
    return status == 0


METHODS = {"in_process": in_process, "fork_exec": fork_exec}

if __name__ == "__main__":
    main(*sys.argv[1:])
