"""A run in a folder of its own, on one process or several ranks, started, ended by a signal, started again.

Compares nothing.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from align.cli import INTERRUPTED
from align.errors import DataError, StageError
from align.recipe.peers import ranks_of
from align.recipe.workspace import MARKER

MARK = "ALIGN_FAULTS_JOB"
"""Variable in the environment of all a job's processes, in whatever session they are."""
DDP = Path(__file__).parents[2] / "recipes" / "accelerate" / "ddp.yaml"
UNDER = ("-m", "accelerate.commands.launch", "--config_file", str(DDP), "--main_process_port", "0")
"""Starts the ranks; without a GPU they run on the CPU."""
POLL_SECONDS = 0.01
END_SECONDS, REST_SECONDS = 60.0, 2.0
"""How long a run may take to end after a signal, and then the processes that it started."""


class Job:
    """`align run` of one recipe, always by the same command.

    Args:
        folder: a new folder for `runs/` and for `log.txt`, what the run said.
        recipe: the recipe's file.
        overrides: `key=value` words.
        patience: seconds after which a start that has not ended counts as hanging; None waits forever.
        ranks: processes under `accelerate launch`; with 1 there is no launcher.

    Raises:
        DataError: the folder is there already.
    """

    def __init__(
        self, folder: Path, recipe: Path, overrides: Sequence[str], patience: float | None = None, ranks: int = 1
    ) -> None:
        self.run = folder / "runs" / recipe.stem
        self.seconds = 0.0
        """Of all starts together."""
        self._log, self._patience = folder / "log.txt", patience
        self._ranks = ranks
        launcher = [*UNDER, "--num_processes", str(ranks)] if ranks > 1 else []
        self._command = [sys.executable, *launcher, "-m", "align", "run", str(recipe), *overrides, "--run", recipe.stem]
        self._process: subprocess.Popen[bytes] | None = None
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            raise DataError(f"{folder}: is there already: remove it, or give another --runs") from None

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self._alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def start(self, *words: str, largest_file: int | None = None) -> None:
        """Begin, or go on.

        Args:
            words: further overrides, of this start alone.
            largest_file: bytes that a file may have, as on a disk that is nearly full.
        """
        self._started, self._said_before = time.time(), self._log.stat().st_size if self._log.exists() else 0
        limit = ["prlimit", f"--fsize={largest_file}"] if largest_file else []
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [*limit, *self._command, *words],
                cwd=self._log.parent,
                env={**os.environ, MARK: str(self._log.parent)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def reach(self, stage: str, seconds: float, until: Callable[[], bool] = lambda: True) -> float | None:
        """Wait until a stage has been running for so long; returns for how long, or None where it ended before.

        Args:
            stage: name of its folder.
            seconds: since it began, or since it went on after the last start.
            until: what else has to be the case.
        """
        folder, began = self.run / stage, None
        while not (folder / MARKER).exists():
            now = time.monotonic()
            if began is None and folder.is_dir() and self._holds():
                began = now
            if began is not None and now - began >= seconds and until():
                return now - began
            if not self._goes_on():
                return None
            time.sleep(POLL_SECONDS)
        return None

    def end(self) -> None:
        """Wait until the run is finished."""
        while self._goes_on():
            time.sleep(POLL_SECONDS)
        self.seconds += time.time() - self._started

    def kill(self, sign: signal.Signals, rank: int | None = None) -> None:
        """Send a signal to the process group, as a terminal does, and wait until all processes have ended.

        Args:
            sign: the signal.
            rank: send it to this rank alone.

        Raises:
            StageError: some do not end, or not in the way that the signal asks for.
        """
        assert self._process is not None
        pid = None if rank is None else ranks_of(self._process.pid).get(rank)
        # a launcher ends with 1 whatever its ranks end with, and one that a signal ends, with a traceback
        asked = INTERRUPTED if sign == signal.SIGINT else -sign
        if pid is None:
            os.killpg(self._process.pid, sign)
        else:
            os.kill(pid, sign)
        if self._ranks > 1 and (pid is not None or sign != signal.SIGKILL):
            asked = 1
        try:
            code = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            raise StageError(f"{self._log}: goes on {END_SECONDS:.0f} s after {sign.name}") from None
        self.seconds += time.time() - self._started
        deadline = time.monotonic() + REST_SECONDS
        while alive := self._alive():
            if time.monotonic() > deadline:
                raise StageError(f"{self._log}: {sign.name} has left processes that go on: {alive}")
            time.sleep(POLL_SECONDS)
        # 0: it had just finished
        if code not in (asked, 0):
            raise StageError(f"{self._log}: exit code {code} after {sign.name}, not {asked}: {self._last_line()}")

    def _alive(self) -> list[int]:
        """The job's processes; the sandbox's do not count, which have no environment and end by themselves."""
        mark, found = f"{MARK}={self._log.parent}".encode(), []
        for path in Path("/proc").glob("[0-9]*/environ"):
            # those of others cannot be read, and some end meanwhile
            with contextlib.suppress(OSError):
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found

    def _holds(self) -> bool:
        """Whether the last start has come to its stages: their folders may be there from the start before it."""
        lock = self.run / ".lock"
        return lock.is_file() and lock.stat().st_mtime >= self._started

    def _goes_on(self) -> bool:
        """Whether the process runs.

        Raises:
            StageError: it has ended with an error, or hangs.
        """
        assert self._process is not None
        code, seconds = self._process.poll(), time.time() - self._started
        if code:
            raise StageError(f"{self._log}: exit code {code}: {self._last_line()}")
        if code is None and self._patience is not None and seconds > self._patience:
            raise StageError(f"{self._log}: hangs: not ended {seconds:.0f} s after its last start")
        return code is None

    def send(self, sign: signal.Signals) -> None:
        """Send a signal to the process group; of what comes of it `ended` tells."""
        assert self._process is not None
        os.killpg(self._process.pid, sign)

    def ended(self) -> int:
        """Wait until the last start has ended, in whatever way; returns its exit code.

        Raises:
            StageError: it does not.
        """
        assert self._process is not None
        try:
            code = self._process.wait(self._patience)
        except subprocess.TimeoutExpired:
            raise StageError(f"{self._log}: hangs: not ended {self._patience:.0f} s after its last start") from None
        self.seconds += time.time() - self._started
        return code

    def said(self) -> list[str]:
        """The lines of ours that the last start has said, but for those of finished stages."""
        text = self._log.read_bytes()[self._said_before :].decode(errors="replace")
        return [line.strip() for line in text.split("\n") if line.startswith("align:")]

    def _last_line(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
