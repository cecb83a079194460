"""A rank and those beside it on its machine: its log, and what it does when one of them is gone. Torch-free.

A process that is killed leaves the others in a collective, for as long as its watchdog waits: up to half an hour.
Ranks of other machines are not seen: the scheduler ends them.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import AlignError

LOGS = ".logs"
"""Folder of a run: what ranks other than 0 said, `<stage>-<key>/rank-1.txt`."""
PEER_GONE = 75
"""Exit code of a rank that ends because another one has."""
POLL_SECONDS, UNSEEN_SECONDS = 0.5, 10.0
"""How often a rank looks; how long one may take to appear."""
LATE_SECONDS = 3.0
"""How long after an error the end of another rank may still explain it."""


def log_path(folder: Path, rank: int) -> Path:
    """Where a rank says what it does for the stage in `folder`."""
    return folder.parent / LOGS / folder.name / f"rank-{rank}.txt"


class Log:
    """Turns a process's output, that of its libraries included, into files, one a stage."""

    def __init__(self, rank: int) -> None:
        self.rank, self.path = rank, Path(os.devnull)
        self._before = [os.dup(1), os.dup(2)]

    def turn_to(self, folder: Path) -> None:
        """Append to the file for a stage's folder from now on."""
        self.path = log_path(folder, self.rank)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        began = time.strftime("%Y-%m-%d %H:%M:%S")
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(f"--- {began}, {socket.gethostname()}, process {os.getpid()}\n")
            file.flush()
            self._point(file.fileno(), file.fileno())

    def turn_back(self) -> None:
        """To where it went at first."""
        self._point(*self._before)

    @staticmethod
    def _point(out: int, err: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(out, 1)
        os.dup2(err, 2)


@contextlib.contextmanager
def kept(log: Log, *, quiet: bool) -> Iterator[None]:
    """Say an error in one line where the output went before it was turned into a file, which has the traceback.

    Args:
        log: of this rank.
        quiet: whoever started the ranks says it.
    """
    try:
        yield
    except Exception as error:
        if not quiet and log.path != Path(os.devnull):
            kind = "" if isinstance(error, AlignError) else f"{type(error).__name__}: "
            said = (str(error).strip().splitlines() or [""])[0]
            os.write(log._before[1], f"align: rank {log.rank}: {kind}{said}; its log: {log.path}\n".encode())
        raise
    else:
        log.turn_back()


@contextlib.contextmanager
def together(folder: Path, *, quiet: bool) -> Iterator[None]:
    """End this rank soon after one beside it has ended, whatever this one waits for.

    Args:
        folder: the stage's, which the log's place is told by.
        quiet: whoever started the ranks says which one it was.
    """
    if int(os.environ.get("LOCAL_WORLD_SIZE", "1")) < 2:
        yield
        return
    over, peers = threading.Event(), Peers()

    def watch() -> None:
        while not over.wait(POLL_SECONDS):
            if (gone := peers.gone()) and not over.is_set():
                _say(gone[0], folder, quiet=quiet)
                os._exit(PEER_GONE)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    except Exception as error:
        over.set()
        # a connection that breaks is only what follows
        if not isinstance(error, AlignError) and (gone := peers.gone_soon()):
            _say(gone[0], folder, quiet=quiet)
            raise SystemExit(PEER_GONE) from error
        raise
    finally:
        over.set()
        watcher.join()


class Peers:
    """The ranks that the same launcher has started on this machine."""

    def __init__(self) -> None:
        size = int(os.environ["LOCAL_WORLD_SIZE"])
        first = int(os.environ["RANK"]) - int(os.environ["LOCAL_RANK"])
        self._unseen = set(range(first, first + size)) - {int(os.environ["RANK"])}
        self._pids: dict[int, int] = {}
        self._until = time.monotonic() + UNSEEN_SECONDS

    def gone(self) -> list[int]:
        """Those that have ended, the lowest first."""
        if self._unseen:
            self._look()
        lost = {rank for rank, pid in self._pids.items() if _state(pid) in (None, "Z", "X")}
        if time.monotonic() > self._until:
            lost |= self._unseen
        return sorted(lost)

    def gone_soon(self) -> list[int]:
        """As `gone`, after a while if need be."""
        deadline = time.monotonic() + LATE_SECONDS
        while not (found := self.gone()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def _look(self) -> None:
        found = ranks_of(os.getppid())
        self._pids |= {rank: found[rank] for rank in self._unseen & found.keys()}
        self._unseen -= found.keys()


def ranks_of(launcher: int) -> dict[int, int]:
    """Rank → process id, of those that a launcher's process has started here."""
    found: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*"):
        # most are others', and some end meanwhile
        with contextlib.suppress(OSError, ValueError, IndexError):
            if _fields(int(path.name))[1] == str(launcher):
                entries = (path / "environ").read_bytes().split(b"\0")
                found |= {int(entry[5:]): int(path.name) for entry in entries if entry.startswith(b"RANK=")}
    return found


def _state(pid: int) -> str | None:
    """R, S, D, Z, … of a process; None where there is none."""
    try:
        return _fields(pid)[0]
    except (OSError, IndexError):
        return None


def _fields(pid: int) -> list[str]:
    # the name before them is in brackets, and may hold anything
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def _say(rank: int, folder: Path, *, quiet: bool) -> None:
    if not quiet:
        path = log_path(folder, rank)
        log = f"; its log: {path}" if path.is_file() else ""
        print(f"align: rank {rank} has ended, and this one with it{log}", file=sys.stderr, flush=True)


def ending(code: int) -> str:
    """An exit code in words: `was ended by SIGKILL`, `ended with exit code 1`."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
