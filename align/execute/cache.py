"""Executions on disk, found by content: what ran once is not run again. Runs nothing.

One SQLite file that several processes read and write at once. It survives `kill -9` at any moment: a row is there
whole or not at all, and at most `FLUSH_SECONDS` of results are lost. The first result of a key stays. Faults of ours
(`infra_error`) are never kept, nor is what was not run at all (`unsupported`).

Processes share it by a write-ahead log where the file system is known to be a local one. Elsewhere (NFS and the like)
such a log would be torn by a second machine, so that SQLite's rollback journal is used: slower, and as safe as the
file system's locks are. A file that is damaged, or is none of ours, is named in an error and left as it is; so is a
disk that is full.

An open cache does not survive `fork`: open it in the process that uses it.
"""

import contextlib
import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path

from ..errors import DataError
from ..io import ROOM, make_way
from ..schema import Isolation, content_id
from .execution import Execution
from .program import Program

NAME = "executions.sqlite"
"""The file's name in a folder."""
VERSION = 2
"""Bumped by hand when the same program may get another outcome."""
FLUSH_SECONDS, FLUSH_ROWS = 0.5, 1000
"""A result is on its way to the disk after so long, or when so many wait."""
BUSY_SECONDS = 30.0
"""How long another process may write before that is an error."""

_OURS = 0x416C6967
"""`PRAGMA application_id` of our files: "Alig"."""
_LOCAL = {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"}
_NOT_KEPT = ("infra_error", "unsupported")
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_TABLE = "CREATE TABLE IF NOT EXISTS executions (key TEXT PRIMARY KEY, execution TEXT NOT NULL) WITHOUT ROWID"


def execution_key(program: Program, limits: tuple[float, int], level: Isolation, profile: object) -> str:
    """Everything that an outcome depends on, as a hash.

    Args:
        program: its own key covers its source and its tests.
        limits: CPU seconds and MiB that it really runs under.
        level: the isolation.
        profile: plain data that names the interpreter's version and what it can import.
    """
    shape = [field.name for field in fields(Execution)]
    return content_id([VERSION, shape, program.key, *limits, level, profile])


class Cache:
    """Executions by key. Threads may share one; a context manager.

    Args:
        path: the file, or a folder that holds it as `executions.sqlite`.

    Raises:
        DataError: it cannot be written, or is no cache.
    """

    def __init__(self, path: Path) -> None:
        self.path = path / NAME if path.is_dir() else path
        self._connection = _opened(self.path)
        self._pending: dict[str, str] = {}
        self._changed = threading.Condition()
        self._fault: DataError | None = None
        self._closed = False
        self._writer = threading.Thread(target=self._write_on, name="align-cache", daemon=True)
        self._writer.start()

    def get(self, key: str) -> Execution | None:
        """The result under a key, from whichever process put it; None where there is none.

        Raises:
            DataError: the file is damaged, or an earlier result could not be written.
        """
        with self._changed:
            self._check()
            text = self._pending.get(key)
            if text is None:
                with _named(self.path):
                    row = self._connection.execute("SELECT execution FROM executions WHERE key = ?", (key,)).fetchone()
                text = row[0] if row else None
        return None if text is None else _execution(text, self.path)

    def put(self, key: str, execution: Execution) -> None:
        """Keep a result; on its way to the disk within `FLUSH_SECONDS`.

        Raises:
            DataError: an earlier result could not be written: the disk is full, say.
        """
        if execution.outcome in _NOT_KEPT:
            return
        with self._changed:
            self._check()
            self._pending.setdefault(key, json.dumps(asdict(execution)))
            if len(self._pending) in (1, FLUSH_ROWS):
                self._changed.notify_all()

    def close(self) -> None:
        """Write what waits, and close.

        Raises:
            DataError: it could not be written.
        """
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._writer.join()
        self._connection.close()
        if self._fault and self._pending:
            raise self._fault

    def __enter__(self) -> "Cache":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self) -> None:
        if self._fault:
            raise self._fault

    def _write_on(self) -> None:
        """The writer's thread: a caller never waits for the disk."""
        with self._changed:
            while not (self._closed or self._fault):
                self._changed.wait_for(lambda: self._pending or self._closed)
                self._changed.wait_for(lambda: self._closed or len(self._pending) >= FLUSH_ROWS, FLUSH_SECONDS)
                try:
                    self._flush()
                except DataError as error:
                    self._fault = error

    def _flush(self) -> None:
        if not self._pending:
            return
        with _named(self.path):
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany("INSERT OR IGNORE INTO executions VALUES (?, ?)", self._pending.items())
                self._connection.execute("COMMIT")
            except sqlite3.Error:
                # some faults have ended the transaction already
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise
        self._pending.clear()


def _opened(path: Path) -> sqlite3.Connection:
    make_way(path)
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            with _named(path):
                return _connected(path)
        except _Busy:
            # two processes that make one file at once are refused at once, whatever the timeout
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        system = file_system(path)
        mode = "WAL" if system in _LOCAL else "DELETE"
        fresh = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not fresh and connection.execute("PRAGMA application_id").fetchone()[0] != _OURS:
            raise DataError(f"{path}: is a database, but no cache of executions: name another file")
        if fresh and mode == "DELETE":
            told = f"on {system}, which is not known to be local: slower, so name a local folder if you can"
            print(f"align: warning: {path}: {told}", file=sys.stderr, flush=True)
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id = {_OURS}")
        connection.execute(_TABLE)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def file_system(path: Path) -> str:
    """Name of the file system that a file's folder is on, as the kernel has it; empty where it does not tell."""
    try:
        device = os.stat(path.parent).st_dev
        number = f"{os.major(device)}:{os.minor(device)}"
        lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    except OSError:
        return ""
    # btrfs and overlays give files another device than their mount has
    return next((line[line.index("-") + 1] for line in lines if line[2] == number), "") or _by_folder(path, lines)


def _by_folder(path: Path, lines: list[list[str]]) -> str:
    folder = path.parent.resolve()
    above = [line for line in lines if folder.is_relative_to(line[4])]
    return max(((len(line[4]), line[line.index("-") + 1]) for line in above), default=(0, ""))[1]


class _Busy(DataError):
    """Another process writes."""


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say what SQLite's errors mean, in one line with the file's name."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(_DAMAGED):
            raise DataError(f"{path}: is damaged, or no cache of executions ({error}): remove it") from None
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            cure = "end it, or name another cache"
            raise _Busy(f"{path}: another process holds it for {BUSY_SECONDS:.0f} s: {cure}") from None
        cure = f": {ROOM}" if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")) else ""
        raise DataError(f"{path}: cannot be written ({error}){cure}") from None


def _execution(text: str, path: Path) -> Execution:
    try:
        return Execution(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: a row is damaged ({error}): remove the file") from None
