"""The node's service: one set of workers for all processes of a user. Started by `service`, on demand.

    python -m align.execute.node --listen DESCRIPTOR

Fair: whoever has the least running is next, unit by unit. A caller that dies takes its waiting programs with it; one
that floods is not read from until its programs have run. Ends when nobody was connected for `IDLE_SECONDS`. Keeps no
results: a cache is its caller's.
"""

import argparse
import asyncio
import fcntl
import os
import resource
import signal
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from ..errors import AlignError, BackendError
from .checks import Checks
from .execution import Execution
from .isolation import Requested
from .pool import Pool
from .program import Program
from .wire import LOCK, Lines, WireError, execution_line, identity, line, peer, program_of

IDLE_SECONDS = 30.0
UNIT = 8
"""Programs of one problem that are run in one go: they share a tester."""
MAX_OPEN, MAX_BYTES = 1024, 64 << 20
"""A caller is not read from while so many of its programs, or so many bytes of them, have no result."""
_PART = 1 << 18


@dataclass
class Task:
    """One program of a caller."""

    number: int
    program: Program
    size: int


class Caller:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, process: int) -> None:
        self.reader, self.writer, self.process = reader, writer, process
        self.pool: Pool | None = None
        self.queue: deque[Task] = deque()
        self.open: dict[int, int] = {}
        """Number of each program without a result → its size."""
        self.bytes = 0
        self.checks: Checks | None = None
        self.room = asyncio.Event()
        self.gone = False

    def add(self, message: dict[str, Any], size: int) -> None:
        """Take a request in.

        Raises:
            WireError: it is none.
        """
        number, program = program_of(message, self.checks)
        if number in self.open:
            raise WireError(f"program {number} is running already")
        self.checks = program.checks
        self.queue.append(Task(number, program, size))
        self.open[number] = size
        self.bytes += size

    def unit(self) -> list[Task]:
        """The next programs to run: of one problem."""
        found = [self.queue.popleft()]
        key = found[0].program.checks.key
        while self.queue and len(found) < UNIT and self.queue[0].program.checks.key == key:
            found.append(self.queue.popleft())
        return found

    def answer(self, number: int, text: bytes) -> None:
        """Send a program's result, unless it has one."""
        size = self.open.pop(number, None)
        if size is None or self.gone:
            return
        self.bytes -= size
        self.writer.write(text)
        self.room.set()

    async def wait_for_room(self) -> None:
        """Until the caller may send more; what it does not fetch counts as well."""
        while (len(self.open) >= MAX_OPEN or self.bytes >= MAX_BYTES) and not self.writer.is_closing():
            self.room.clear()
            await self.room.wait()
        await self.writer.drain()


class Node:
    """The service in its event loop.

    Args:
        listener: a listening unix socket; its file is removed in the end.
        idle_seconds: how long to wait for a first or another caller.
    """

    def __init__(self, listener: socket.socket, idle_seconds: float) -> None:
        self._listener, self._idle_seconds = listener, idle_seconds
        self._pools: dict[str, Pool] = {}
        self._opening = asyncio.Lock()
        self._callers: set[Caller] = set()
        self._ready: dict[int, deque[Caller]] = {}
        """Process → its connections with waiting programs; whose turn is next stands first."""
        self._running: Counter[int] = Counter()
        self._slots = 2 * len(os.sched_getaffinity(0))
        self._threads = ThreadPoolExecutor(self._slots, thread_name_prefix="align-unit")
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()

    async def serve(self) -> None:
        """Until idle, told to stop, or SIGTERM."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._over.set)
        server = await asyncio.start_unix_server(self._connected, sock=self._listener, limit=_PART)
        idle = asyncio.create_task(self._end_when_idle())
        await self._over.wait()
        idle.cancel()
        server.close()
        for caller in self._callers:
            caller.writer.close()
        for pool in self._pools.values():
            pool.close()
        self._threads.shutdown(cancel_futures=True)

    async def _end_when_idle(self) -> None:
        since = time.monotonic()
        while time.monotonic() - since < self._idle_seconds or not self._left():
            await asyncio.sleep(min(1.0, self._idle_seconds / 4))
            if self._callers:
                since = time.monotonic()
        self._over.set()

    def _left(self) -> bool:
        """Take the socket away, unless somebody is about to use it."""
        path = Path(self._listener.getsockname())
        with suppress(OSError), open(path.with_name(LOCK), "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.with_suffix(".log").unlink(missing_ok=True)
            path.unlink()
            return True
        return not path.exists()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        process, user = peer(writer.get_extra_info("socket"))
        caller = Caller(reader, writer, process)
        self._callers.add(caller)
        try:
            if user == os.getuid():
                await self._listen(caller)
        except WireError as error:
            writer.write(line({"error": str(error)}))
        except (OSError, asyncio.CancelledError):
            pass  # it has gone, or the service ends
        finally:
            self._forget(caller)

    async def _listen(self, caller: Caller) -> None:
        lines = Lines()
        while part := await caller.reader.read(_PART):
            for message, size in lines.feed(part):
                if "run" in message:
                    await self._asked(caller, message, size)
                elif "hello" in message:
                    caller.writer.write(line(await self._welcome(caller, message)))
                elif "stop" in message:
                    self._stop(caller)
                else:
                    raise WireError(f"unknown message with {', '.join(message)[:60]}")

    async def _welcome(self, caller: Caller, message: dict[str, Any]) -> dict[str, Any]:
        if message["hello"] != identity():
            return {"refused": "another installation listens here", "kind": "BackendError"}
        try:
            async with self._opening:
                level = str(message.get("isolation"))
                if level not in self._pools:
                    self._pools[level] = await asyncio.to_thread(_pool, level)
        except AlignError as error:
            return {"refused": str(error), "kind": type(error).__name__}
        caller.pool = self._pools[level]
        return {"welcome": caller.pool.level, "process": os.getpid()}

    def _stop(self, caller: Caller) -> None:
        alone = self._callers == {caller} and self._left()
        caller.writer.write(line({"stopping": alone}))
        if alone:
            self._over.set()

    async def _asked(self, caller: Caller, message: dict[str, Any], size: int) -> None:
        if caller.pool is None:
            raise WireError("a program before any hello")
        caller.add(message, size)
        if len(caller.queue) == 1:
            self._ready.setdefault(caller.process, deque()).append(caller)
        # a unit is cut when a slot is free: by then the rest of this part of the stream is there
        self._loop.call_soon(self._start_units)
        await caller.wait_for_room()

    def _start_units(self) -> None:
        while self._ready and self._running.total() < self._slots:
            process = min(self._ready, key=lambda each: self._running[each])
            callers = self._ready.pop(process)
            caller = callers.popleft()
            unit = caller.unit()
            if caller.queue:
                callers.append(caller)
            if callers:
                self._ready[process] = callers
            self._running[process] += 1
            self._threads.submit(self._run, caller, unit)

    def _run(self, caller: Caller, unit: list[Task]) -> None:
        """In a thread: run a unit to its end, or to its caller's."""
        assert caller.pool is not None
        tell = partial(self._tell, caller, unit)
        runs = cast(Generator[Execution, None, None], caller.pool.run((task.program for task in unit), tell))
        try:
            for index, execution in enumerate(runs):
                # the pool may tell of a result after it has given it
                tell(index, execution)
                if caller.gone:
                    break
        except Exception as error:
            known = isinstance(error, AlignError)
            reason = str(error) if known else f"the service has a fault ({type(error).__name__}: {error})"
            for task in unit:
                self._soon(caller.answer, task.number, line({"failed": task.number, "reason": reason}))
        finally:
            runs.close()
            self._soon(self._finished, caller.process)

    def _tell(self, caller: Caller, unit: list[Task], index: int, execution: Execution) -> None:
        number = unit[index].number
        self._soon(caller.answer, number, execution_line(number, execution))

    def _soon(self, call: Any, *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(call, *arguments)

    def _finished(self, process: int) -> None:
        self._running[process] -= 1
        self._running += Counter()  # drops those that are at 0
        self._start_units()

    def _forget(self, caller: Caller) -> None:
        caller.gone = True
        self._callers.discard(caller)
        if caller.queue:
            caller.queue.clear()
            callers = self._ready[caller.process]
            callers.remove(caller)
            if not callers:
                del self._ready[caller.process]
        caller.writer.close()


def _pool(level: str) -> Pool:
    # the pool refuses what is no level
    return Pool(isolation=cast(Requested, level))


def main(argv: Sequence[str] | None = None) -> int:
    """Serve on a listening socket that was handed down; the process that was started returns at once."""
    parser = argparse.ArgumentParser(prog="align.execute.node", description="The node's service; `service` starts it.")
    parser.add_argument("--listen", type=int, required=True, metavar="DESCRIPTOR")
    parser.add_argument("--idle", type=float, default=IDLE_SECONDS, metavar="SECONDS")
    arguments = parser.parse_args(argv)
    # the caller that starts it has no child to wait for, and may end first
    if os.fork():
        return 0
    os.setsid()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_serve(arguments.listen, arguments.idle))
    return 0


async def _serve(descriptor: int, idle_seconds: float) -> None:
    await Node(socket.socket(fileno=descriptor), idle_seconds).serve()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BackendError as error:
        sys.exit(f"align: {error}")
