"""One worker's interpreter: it forks a process for every program, waits, cleans up after it, and reports the facts.

Started clean (`python -s -P -S -m sandbox.zygote CHANNEL NUMPY`), never by fork: it holds none of the supervisor's
memory, secrets or descriptors. It runs no program itself. It ends, with all it started, when the supervisor goes.
"""

import ctypes
import gc
import importlib.machinery
import os
import select
import shutil
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from . import child
from .board import Board
from .channel import receive, send
from .counting import Tests, prepare

PRELOAD = [
    "bisect",
    "collections",
    "copy",
    "dataclasses",
    "datetime",
    "decimal",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "itertools",
    "json",
    "math",
    "operator",
    "random",
    "re",
    "statistics",
    "string",
    "textwrap",
    "typing",
]
"""What most programs import: loaded once instead of once a program."""
STDERR_BYTES = 2048
"""End of a program's stderr that is reported."""
_SUBREAPER = 36
_POLL_SECONDS = 0.05


class SupervisorGone(Exception):
    """Nobody is left to run programs for."""


class NumpyFinder:
    """Offers numpy, and none of its neighbours in site-packages."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The import system's question: where is `name`?"""
        return importlib.machinery.PathFinder.find_spec(name, [self._folder]) if name == "numpy" else None


def main(channel: socket.socket, numpy_folder: str) -> None:
    """Serve until the supervisor goes."""
    _settle(numpy_folder)
    folder = os.getcwd()
    try:
        while (job := receive(channel)) is not None:
            send(channel, serve(job, channel))
            _empty(folder)
    except (SupervisorGone, ConnectionError):
        return
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def serve(job: dict[str, Any], channel: socket.socket) -> dict[str, Any]:
    """Run one program; everything it left behind is gone afterwards."""
    tests = tests_of(job["tests"], job["test_kind"], job["entry_point"])
    if isinstance(tests, str):
        return {"tests_error": tests}
    board = Board(tests.total)
    try:
        pid = os.fork()
        if pid == 0:
            channel.close()
            child.run(job, tests, board)
        ended = _wait(pid, job["cpu_seconds"], channel)
        return {**board.facts(), **ended, "stderr": _output_tail()}
    finally:
        board.close()


@lru_cache(maxsize=256)
def tests_of(source: str, kind: str, entry_point: str | None) -> Tests | str:
    """The tests, ready to run, or what is wrong with them."""
    if not source.strip():
        return "no tests"
    if kind == "check" and entry_point is None:
        return "no entry point"
    try:
        compile(entry_point or "None", child.TEST_SOURCE, "eval")
        return prepare(source, child.TEST_SOURCE)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        return type(error).__name__


def _settle(numpy_folder: str) -> None:
    # this package is the worker's own business: a program must not find it
    sys.path.remove(os.environ.pop("PYTHONPATH"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "sandbox"]:
        del sys.modules[name]
    for name in PRELOAD:
        __import__(name)
    if numpy_folder:
        sys.meta_path.append(NumpyFinder(numpy_folder))
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    gc.collect()
    gc.freeze()


def _wait(pid: int, seconds: float, channel: socket.socket) -> dict[str, Any]:
    """Wait for a program, at most until it has been blocked for its CPU limit; end all its processes."""
    handle = os.pidfd_open(pid)
    started = time.monotonic()
    stalled, patience = False, seconds
    try:
        while handle not in (ready := select.select([handle, channel.fileno()], [], [], patience)[0]):
            if channel.fileno() in ready:
                raise SupervisorGone
            patience = _POLL_SECONDS
            if stalled := _blocked(pid, time.monotonic() - started) > seconds:
                break
    finally:
        os.close(handle)
        _kill_group(pid)
        _, status, usage = os.wait4(pid, 0)
        _kill_strays()
    return {
        "stalled": stalled,
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
    }


def _blocked(pid: int, wall: float) -> float:
    """Seconds in which the process neither ran nor waited for a core: a busy machine makes nobody a sleeper."""
    try:
        with open(f"/proc/{pid}/schedstat") as file:
            ran, waited, _ = file.read().split()
    except FileNotFoundError:
        # kernels without it cannot tell the two apart: only a long wall time counts
        return wall / 10
    return wall - (int(ran) + int(waited)) / 1e9


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        # it had not reached setsid() yet, so it has no group and no children
        os.kill(pid, signal.SIGKILL)


def _kill_strays() -> None:
    """End the processes that left the program's group: as orphans they became ours."""
    me = os.getpid()
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        with open(f"/proc/self/task/{me}/children") as file:
            strays = [int(pid) for pid in file.read().split()]
        for pid in strays:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _output_tail() -> str:
    """The end of stderr; both outputs are empty afterwards."""
    size = os.fstat(2).st_size
    tail = os.pread(2, STDERR_BYTES, max(0, size - STDERR_BYTES)) if size else b""
    for output in (1, 2):
        os.ftruncate(output, 0)
        os.lseek(output, 0, os.SEEK_SET)
    return tail.decode("utf-8", "replace")


def _empty(folder: str) -> None:
    for entry in list(os.scandir(folder)):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, onerror=_unlock)
        else:
            os.unlink(entry.path)


def _unlock(remove: Callable[..., Any], path: str, _: object) -> None:
    """A program may have locked its own folders."""
    for place in (os.path.dirname(path), path):
        if stat.S_ISDIR(os.lstat(place).st_mode):
            os.chmod(place, stat.S_IRWXU)
    if stat.S_ISDIR(os.lstat(path).st_mode):
        shutil.rmtree(path)
    else:
        os.unlink(path)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
