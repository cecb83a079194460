"""Run one command and end it, with all that it started, when asked to or when the process that asked for it is gone.

Run as a script of its own, without `align`: `python -I keeper.py PARENT GRACE COMMAND …`. A server starts workers in
sessions of their own, which neither its end nor a signal to its group reaches; and after a `kill -9` of a run nobody
is left to end anything. So this process stands between: what loses its parent below it becomes its own child.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

POLL_SECONDS = 0.1
ORPHAN_SECONDS = 1.0
"""How long what the command started may outlive it."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def main(parent: int, grace: float, command: list[str]) -> int:
    """Run the command; returns its exit code, or 128 and the signal that ended it."""
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda found, _: asked.append(found))
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            # should this process be killed itself
            preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
        )
    except OSError as error:
        print(f"{command[0]}: {error.strerror or error}", flush=True)
        return 127
    while server.poll() is None and not asked and os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    code = server.poll()
    _end(server, signal.SIGTERM)
    _wait(grace, lambda: server.poll() is not None)
    _wait(ORPHAN_SECONDS, lambda: _reap(server) == 0)
    _end(server, signal.SIGKILL)
    while _reap(server):
        for pid in _children():
            _signal(os.kill, pid, signal.SIGKILL)
        time.sleep(POLL_SECONDS)
    code = server.wait() if code is None else code
    return code if code >= 0 else 128 - code


def _end(server: "subprocess.Popen[bytes]", number: int) -> None:
    """Signal the server's group, and what has left it and lost its parent."""
    _signal(os.killpg, server.pid, number)
    for pid in _children():
        _signal(os.kill, pid, number)


def _wait(seconds: float, ended: Callable[[], bool]) -> None:
    last = time.monotonic() + seconds
    while time.monotonic() < last and not ended():
        time.sleep(POLL_SECONDS)


def _signal(send: Callable[[int, int], None], pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        send(pid, number)


def _reap(server: "subprocess.Popen[bytes]") -> int:
    """Take up the exit codes of those that have ended, the server's own with its object; how many are left."""
    for pid in _children():
        if pid == server.pid:
            server.poll()
            continue
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return len(_children())


def _children() -> list[int]:
    """This process's children, those that have ended and are not waited for among them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # the name, in brackets, may hold anything
            if int(path.read_bytes().rpartition(b")")[2].split()[1]) == os.getpid():
                found.append(int(path.parent.name))
    return found


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
