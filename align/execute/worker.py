"""One zygote as the supervisor sees it: start it, have it run a program, end it. Knows nothing of outcomes."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from .sandbox.channel import receive, send

_COMMAND = ("-s", "-P", "-S", "-B", "-W", "ignore", "-m", "sandbox.zygote")
_END_SECONDS = 5.0


class ZygoteDied(Exception):
    """The zygote is gone; says nothing about the program it was to run."""


class Worker:
    """A running zygote with a folder of its own."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="align-run-")
        self._channel, theirs = socket.socketpair()
        # in memory, so that what programs print costs no disk; they are emptied after each program
        stdout, self._stderr = os.memfd_create("stdout"), os.memfd_create("stderr")
        self._process = subprocess.Popen(
            [sys.executable, *_COMMAND, str(theirs.fileno()), numpy_folder()],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=self._stderr,
            pass_fds=[theirs.fileno()],
            cwd=self._folder,
            env=self._environment(),
            start_new_session=True,  # Ctrl-C at the terminal is for us; the zygote ends when its channel does
        )
        theirs.close()
        os.close(stdout)

    def _environment(self) -> dict[str, str]:
        """All that programs see of the environment: no secrets, nothing that changes their results."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": self._folder,
            "TMPDIR": self._folder,
            "LANG": "C.UTF-8",
            "PYTHONHASHSEED": "0",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(__file__).parent),
        }

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """The facts of one program's run.

        Raises:
            ZygoteDied: with the end of what it said last.
        """
        try:
            send(self._channel, job)
            facts = receive(self._channel)
        except OSError:
            facts = None
        if facts is None:
            raise ZygoteDied(self._last_words())
        return facts

    def stop(self) -> None:
        """Make it end, with whatever it runs; a `run` under way in another thread raises ZygoteDied."""
        try:
            self._channel.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it has gone already

    def close(self) -> None:
        """End it and leave nothing behind."""
        self.stop()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._channel.close()
        os.close(self._stderr)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _last_words(self) -> str:
        size = os.fstat(self._stderr).st_size
        lines = os.pread(self._stderr, 2000, max(0, size - 2000)).decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


@cache
def numpy_folder() -> str:
    """Where numpy is installed, found without importing it; empty where it is not."""
    spec = importlib.util.find_spec("numpy")
    return str(Path(spec.origin).parents[1]) if spec and spec.origin else ""
