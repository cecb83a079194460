"""Programs of many calling processes on one set of workers: a `Pool` that a node's processes share.

The first caller starts the service (`node`), which ends by itself when it is idle. Where none can be had, that is an
error: nothing is run elsewhere instead. A service that is killed is started again, once, and gets what has no result;
each program has one result in the end. The service has a worker a core, of the first caller's cores, and the standard
profiles; whoever needs another number or an interpreter of their own takes a `Pool`.
"""

import asyncio
import fcntl
import os
import select
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Generator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from ..errors import AlignError, BackendError, ConfigError
from ..schema import Isolation
from .cache import Cache
from .execution import Execution
from .isolation import VARIABLE, Requested
from .ledger import Ledger, OnDone
from .program import Program
from .wire import LOCK, Lines, identity, line, peer, socket_path

ATTEMPTS = 3
"""Connections tried: the service may end, idle, just as one is made."""
START_SECONDS = 60.0
"""How long a service may take to start, and to answer a first time."""
CALLS = 64
"""Calls of `ajudge` that an event loop has under way at once; the others wait."""

_PART = 1 << 18
_ERRORS: dict[str, type[AlignError]] = {"ConfigError": ConfigError}
_ENVIRONMENT = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONHOME", "VIRTUAL_ENV")
"""What the service keeps of its starter's environment: no secrets, and nothing that another caller does not expect."""
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


def judge(
    programs: Iterable[Program],
    *,
    isolation: Requested = "auto",
    timeout: float | None = None,
    cache: Path | None = None,
) -> list[Execution]:
    """Run programs on the node's workers; arguments and errors as in `Client`."""
    with Client(isolation=isolation, timeout=timeout, cache=cache) as client:
        return list(client.run(programs))


async def ajudge(
    programs: Iterable[Program], *, isolation: Requested = "auto", timeout: float | None = None
) -> list[Execution]:
    """`judge` for asyncio. Cancelled, it drops what waits; what runs ends at its own limit at the latest.

    Raises:
        BackendError, ConfigError: as `Client` and `Client.run`.
    """
    async with _turn():
        connection, level = await _connected(isolation)
        ledger = Ledger(programs, timeout, level, None, None)
        found: list[Execution] = []
        while True:
            try:
                async for ready in _conversation(connection, ledger):
                    found += ready
                return found
            except ConnectionError:
                ledger.begin_again()
            connection, _ = await _connected(isolation)


class Client:
    """A caller of the node's service, with a `Pool`'s interface; a context manager. Threads may share one.

    Args:
        isolation: `auto` (the strongest level there is), `A`, `B` or `none`.
        timeout: CPU seconds for a program that has no limit of its own; 3 by default.
        cache: a file of results, as in `Cache`; it is read and written in this process.

    Raises:
        BackendError: no service can be had, or it cannot run programs at that level.
        ConfigError: no such level.
    """

    def __init__(
        self, *, isolation: Requested = "auto", timeout: float | None = None, cache: Path | None = None
    ) -> None:
        self.executed = 0
        """Programs that the service has run so far: neither repeated nor read from the cache."""
        self._isolation, self._timeout = isolation, timeout
        # held open: the service does not end while this client is there
        self._held, self.level = connect(isolation)
        try:
            self._cache = Cache(cache) if cache is not None else None
        except BaseException:
            self._held.close()
            raise

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the service. Does not end it: others may use it."""
        self._held.close()
        if self._cache:
            self._cache.close()

    def run(self, programs: Iterable[Program], on_done: OnDone | None = None) -> Generator[Execution, None, None]:
        """One Execution a program, in order, while later ones still run.

        Args:
            programs: read lazily, at most `WINDOW` ahead.
            on_done: called with the program's position as soon as its result is here, in any order.

        Raises:
            BackendError: a program could not be run, through no fault of its own, or the service died twice.
        """
        ledger = Ledger(programs, self._timeout, self.level, self._cache, on_done)
        link = _Link(self._isolation)
        try:
            while True:
                request = ledger.request()
                messages: list[dict[str, Any]] = []
                try:
                    messages = link.exchange(request or b"", wait=request is None and bool(ledger.open))
                except ConnectionError:
                    ledger.begin_again()
                    link.close()
                    link = _Link(self._isolation)
                self.executed += sum(ledger.take(message) for message in messages)
                yield from ledger.ready()
                if ledger.finished:
                    return
        finally:
            link.close()


def stop() -> bool:
    """End this user's service if nobody else is connected; says whether there is none now."""
    connection = _dial(socket_path())
    if connection is None:
        return True
    with connection, suppress(ConnectionError):
        return bool(_ask(connection, {"stop": True})["stopping"])
    return True


class _Link:
    """A connection that sends and receives by turns, so that neither side waits for the other to read."""

    def __init__(self, isolation: Requested) -> None:
        self._connection, _ = connect(isolation)
        self._connection.setblocking(False)
        self._poll = select.poll()
        self._lines, self._unsent = Lines(), bytearray()

    def exchange(self, request: bytes, *, wait: bool) -> list[dict[str, Any]]:
        """Send a part of what waits to be sent, and take in what is there.

        Raises:
            ConnectionError: the service has gone.
        """
        self._unsent += request
        self._poll.register(self._connection, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        events = sum(found for _, found in self._poll.poll(None if wait else 0))
        if events & select.POLLOUT:
            with memoryview(self._unsent)[:_PART] as part:
                sent = self._connection.send(part)
            del self._unsent[:sent]
        if events & ~select.POLLOUT:
            return [message for message, _ in self._lines.feed(_received(self._connection))]
        return []

    def close(self) -> None:
        """Hang up: the service drops what has no result."""
        self._connection.close()


async def _conversation(connection: socket.socket, ledger: Ledger) -> AsyncIterator[list[Execution]]:
    """Run a ledger over one connection.

    Raises:
        ConnectionError: the service has gone.
    """
    reader, writer = await asyncio.open_unix_connection(sock=connection)
    lines = Lines()
    try:
        while not ledger.finished:
            # never more than SENT of them: no need to wait until they are sent, which the service's answers may delay
            while (request := ledger.request()) is not None:
                writer.write(request)
            yield list(ledger.ready())
            if ledger.open:
                if not (part := await reader.read(_PART)):
                    raise ConnectionResetError
                for message, _ in lines.feed(part):
                    ledger.take(message)
    finally:
        writer.close()


async def _connected(isolation: Requested) -> tuple[socket.socket, Isolation]:
    """`connect` in a thread, since it may have to start the service."""
    connecting = asyncio.ensure_future(asyncio.to_thread(connect, isolation))
    try:
        connection, level = await asyncio.shield(connecting)
    except asyncio.CancelledError:
        connecting.add_done_callback(lambda done: None if done.exception() else done.result()[0].close())
        raise
    connection.setblocking(False)
    return connection, level


@asynccontextmanager
async def _turn() -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    async with _turns.setdefault(loop, asyncio.Semaphore(CALLS)):
        yield


def connect(isolation: Requested) -> tuple[socket.socket, Isolation]:
    """A connection that programs can be sent on, and the level that they run under; starts the service if need be.

    Raises:
        BackendError, ConfigError: there is none, or it refuses, with the reason.
    """
    wanted = os.environ.get(VARIABLE, "auto") if isolation == "auto" else isolation
    path = socket_path()
    for _ in range(ATTEMPTS):
        connection = _dial(path) or _started(path)
        if connection is None:
            continue
        try:
            answer = _ask(connection, {"hello": identity(), "isolation": wanted})
        except ConnectionError:
            connection.close()
            continue
        except BaseException:
            connection.close()
            raise
        if "welcome" in answer:
            connection.settimeout(None)
            return connection, answer["welcome"]
        connection.close()
        raise _ERRORS.get(str(answer.get("kind")), BackendError)(str(answer.get("refused") or answer))
    raise BackendError(f"the node's service does not stay: {_last_words()}")


def _dial(path: Path) -> socket.socket | None:
    """A connection to a service that is there."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(START_SECONDS)
    try:
        connection.connect(str(path))
        _, user = peer(connection)
    except (FileNotFoundError, ConnectionError):
        connection.close()
        return None
    except OSError as error:
        connection.close()
        raise BackendError(f"{path}: cannot be reached ({error.strerror or error})") from None
    if user != os.getuid():
        connection.close()
        raise BackendError(f"{path}: belongs to user {user}: remove it")
    return connection


def _started(path: Path) -> socket.socket | None:
    """Start the service, unless another caller has just done so; None where it ended at once."""
    with open(path.with_name(LOCK), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if connection := _dial(path):
            return connection
        path.unlink(missing_ok=True)
        # it listens before the service runs, so that nobody has to ask again and again whether it does
        with socket.socket(socket.AF_UNIX) as listener, open(path.with_suffix(".log"), "wb") as log:
            listener.bind(str(path))
            listener.listen(socket.SOMAXCONN)
            _spawn(listener, log)
        return _dial(path)


def _spawn(listener: socket.socket, log: Any) -> None:
    package = str(Path(__file__).parents[2])
    paths = [package, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    number = listener.fileno()
    try:
        subprocess.run(
            [sys.executable, "-P", "-m", "align.execute.node", "--listen", str(number)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[number],
            cwd="/",
            env=environment | {"PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C at the terminal is for the caller
            timeout=START_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BackendError(f"the node's service cannot be started ({_last_words() or error})") from None


def _last_words() -> str:
    """The last line of the service's log."""
    with suppress(OSError):
        said = socket_path().with_suffix(".log").read_text("utf-8", "replace").strip()
        return said.rpartition("\n")[2]
    return ""


def _ask(connection: socket.socket, message: dict[str, Any]) -> dict[str, Any]:
    """The answer to the first message of a connection.

    Raises:
        ConnectionError: the service has gone.
        BackendError: it does not answer.
    """
    try:
        connection.sendall(line(message))
        lines = Lines()
        while True:
            for answer, _ in lines.feed(_received(connection)):
                return answer
    except TimeoutError:
        raise BackendError(f"the node's service does not answer within {START_SECONDS:.0f} s: end it") from None


def _received(connection: socket.socket) -> bytes:
    if not (part := connection.recv(_PART)):
        raise ConnectionResetError
    return part
