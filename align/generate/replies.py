"""What endpoints answered, on disk before it is used: an append-only JSON Lines file a model.

An answer is handed on once it is synced. Many answers share one sync, made by a thread of its own, so that nobody
who asks waits for the disk. `kill -9` costs what is in flight: a line that is torn is dropped. The file also adds up
what was spent, failed tries included, so that limits hold over restarts. It holds no address and no API key.

Does not ask, and does not know what an answer is good for.
"""

import contextlib
import fcntl
import json
import os
import re
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from pydantic import ValidationError

from ..errors import DataError
from ..io import FULL, ROOM, make_way
from ..models.entry import Endpoint
from ..schema import content_id
from .budget import Spent
from .request import Reply

BALLAST = 4 * 2**20
"""Bytes held back beside the file, so that what is in flight when the disk fills can still be kept."""
SLUG = re.compile(r"[^A-Za-z0-9]+")
NOTHING = Spent()
_END = object()


def file_name(entry: Endpoint) -> str:
    """Name of the model's file: what its replies depend on, and nothing of where it is served."""
    return f"{SLUG.sub('-', entry.model).strip('-')[:60]}-{content_id([entry.model, entry.extra_body])[:8]}.jsonl"


class Replies:
    """The answers of one model; one at a time may have the file.

    Args:
        path: the file.
        wanted: keys of the answers to load; the others stay on disk.
        kept: called in the writer's thread with what `put` was given, once it is on disk.
        failed: called there when it cannot be written.

    Raises:
        DataError: it cannot be read or written, or somebody else has it.
    """

    def __init__(
        self,
        path: Path,
        wanted: Collection[str] = (),
        kept: Callable[[list[Any]], None] = lambda _: None,
        failed: Callable[[DataError], None] = lambda _: None,
    ) -> None:
        self.path = path
        self.answers: dict[str, Reply] = {}
        self.spent = Spent()
        self.damaged = 0
        """Lines that are no JSON: their requests are asked again."""
        self.fault: DataError | None = None
        self.closed = False
        self._kept, self._failed = kept, failed
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._ballast = path.with_name(f".{path.name}.ballast")
        make_way(path)
        self._file = _locked(path)
        try:
            self._recover(frozenset(wanted))
            self._set_ballast()
        except BaseException:
            os.close(self._file)
            raise
        self._writer = threading.Thread(target=self._write_on, name="align-replies", daemon=True)
        self._writer.start()

    def put(self, key: str, reply: Reply, spent: Spent, token: Any) -> None:
        """Keep an answer for good; `kept` gets the token when it is on disk."""
        line = {"key": key, "reply": reply.model_dump(exclude_defaults=True), "spent": spent}
        self._queue.put((line, token))

    def tried(self, spent: Spent, why: str) -> None:
        """Count a try that came to nothing."""
        self._queue.put(({"spent": spent, "why": why}, None))

    def reserving(self, most: Spent) -> None:
        """Note at once the most that may be in flight: after `kill -9` it counts as spent."""
        # the kernel has it when this returns, which is all that `kill -9` asks for; a sync follows with the next answer
        with contextlib.suppress(OSError):
            os.write(self._file, _line({"open": most}))

    def close(self, unsettled: Spent = NOTHING) -> None:
        """Put everything on disk and close; `unsettled` was sent and given up.

        Raises:
            DataError: it could not be written.
        """
        if self.closed:
            return
        self.closed = True
        self._queue.put(({"closed": True, "spent": unsettled}, None))
        self._queue.put(_END)
        self._writer.join()
        os.close(self._file)
        self._ballast.unlink(missing_ok=True)
        if self.fault:
            raise self.fault

    def _recover(self, wanted: frozenset[str]) -> None:
        """Read what is there and drop a torn last line."""
        size, open_most = 0, Spent()
        with open(self.path, "rb") as file:
            for raw in file:
                if not raw.endswith(b"\n"):
                    break
                size += len(raw)
                try:
                    line = json.loads(raw)
                    self.spent = self.spent.plus(Spent(*line.get("spent", ())))
                    if "closed" in line:
                        open_most = Spent()
                    elif "open" in line:
                        open_most = open_most.peak(Spent(*line["open"]))
                    if line.get("key") in wanted:
                        self.answers.setdefault(line["key"], Reply.model_validate(line["reply"]))
                except (ValueError, TypeError, AttributeError, KeyError, ValidationError):
                    self.damaged += 1
        # what was in flight when the last process was killed may have been paid
        self.spent = self.spent.plus(open_most)
        os.ftruncate(self._file, size)
        if any(open_most):
            self._append([_line({"closed": True, "spent": open_most})])

    def _set_ballast(self) -> None:
        try:
            with open(self._ballast, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, BALLAST)
        except OSError as error:
            if error.errno not in FULL:
                return  # a file system that cannot hold room back
            self._ballast.unlink(missing_ok=True)
            raise _unwritable(self.path, error) from None

    def _write_on(self) -> None:
        ended = False
        while not ended:
            group = [self._queue.get()]
            while not self._queue.empty():
                group.append(self._queue.get())
            ended = group[-1] is _END
            lines = [item for item in group if item is not _END]
            try:
                self._append([_line(line) for line, _ in lines])
            except OSError as error:
                if self.fault is None:
                    self.fault = _unwritable(self.path, error)
                    self._failed(self.fault)
                if not self._append_after_making_room([_line(line) for line, _ in lines]):
                    continue
            tokens = [token for _, token in lines if token is not None]
            if tokens:
                self._kept(tokens)

    def _append_after_making_room(self, lines: list[bytes]) -> bool:
        """Once more, in the room that was held back: what was paid before the disk filled is kept."""
        self._ballast.unlink(missing_ok=True)
        try:
            self._append(lines)
        except OSError:
            return False
        return True

    def _append(self, lines: list[bytes]) -> None:
        """Write and sync all of them, or none."""
        data = memoryview(b"".join(lines))
        start = os.fstat(self._file).st_size
        try:
            while data:
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, start)
            raise


def _line(value: dict[str, Any]) -> bytes:
    # ASCII: whatever a model writes, half surrogate pairs included, comes back as it was
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _locked(path: Path) -> int:
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise DataError(f"{path}: another process asks this model for the same run: wait for it, or end it") from None
    except OSError as error:
        os.close(file)
        raise DataError(f"{path}: cannot be locked ({error.strerror}): put the run on a local disk") from None
    return file


def _unwritable(path: Path, error: OSError) -> DataError:
    cure = f": {ROOM}" if error.errno in FULL else ""
    return DataError(f"{path}: cannot be written ({error.strerror or error}){cure}")
