"""What the node's service and its callers say to each other: JSON lines with a length cap, never pickle.

    caller → {"hello": identity, "isolation": "auto"}       service → {"welcome": level, "machine": […]}
    caller → {"run": 7, "program": {…}, "checks": {…}}      service → {"done": 7, "execution": {…}}
    caller → {"stop": true}                                 service → {"stopping": true}

`checks` is left out where it is the one sent last. Instead of `welcome` comes `{"refused": …, "kind": …}`, instead of
`done` comes `{"failed": 7, "reason": …}`; `{"error": …}` ends a connection whose caller broke these rules. Also says
which installation is speaking, and where the service's socket is. Opens no connection.
"""

import json
import os
import socket
import stat
import struct
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..errors import BackendError
from ..schema import content_id
from .checks import Checks
from .execution import Execution
from .program import Program

MAX_LINE = 64 << 20
"""Bytes of one message."""
LOCK = "lock"
"""File in the socket's folder: who holds its lock may start or end a service."""
PATH_BYTES = 107
"""Longest path of a unix socket."""

_PEER = struct.Struct("3i")
_PROGRAM, _CHECKS, _EXECUTION = TypeAdapter(Program), TypeAdapter(Checks), TypeAdapter(Execution)


class WireError(ValueError):
    """The other side does not keep to the protocol."""


class Lines:
    """Cuts a byte stream into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, part: bytes) -> Iterator[tuple[dict[str, Any], int]]:
        """The messages that a part of the stream completes, each with its length in bytes.

        Raises:
            WireError: one is no object, or is longer than `MAX_LINE`.
        """
        first, *rest = part.split(b"\n")
        self._buffer += first
        for piece in rest:
            yield _message(bytes(self._buffer)), len(self._buffer)
            self._buffer[:] = piece
        if len(self._buffer) > MAX_LINE:
            raise WireError(f"a message is longer than {MAX_LINE >> 20} MiB")


def line(message: dict[str, Any]) -> bytes:
    """One message. ASCII escapes carry lone surrogates, which model output has."""
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def program_line(number: int, program: Program, *, with_checks: bool) -> bytes:
    """The request to run a program.

    Raises:
        BackendError: it is longer than a message may be.
    """
    plain = {each.name: getattr(program, each.name) for each in fields(program) if each.name != "checks"}
    plain["limits"] = program.limits and program.limits.model_dump()
    message = {"run": number, "program": plain}
    if with_checks:
        message["checks"] = asdict(program.checks)
    if len(found := line(message)) > MAX_LINE:
        raise BackendError(f"a program and its tests take more than {MAX_LINE >> 20} MiB: run them without the service")
    return found


def program_of(message: dict[str, Any], last: Checks | None) -> tuple[int, Program]:
    """A request's number and program.

    Raises:
        WireError: it is none.
    """
    try:
        checks = _CHECKS.validate_python(message["checks"]) if "checks" in message else last
        return int(message["run"]), _PROGRAM.validate_python({**message["program"], "checks": checks})
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise WireError(f"no program to run: {type(error).__name__}") from None


def execution_line(number: int, execution: Execution) -> bytes:
    """The answer to a request."""
    return line({"done": number, "execution": asdict(execution)})


def execution_of(message: dict[str, Any]) -> Execution:
    """The execution in an answer.

    Raises:
        WireError: there is none.
    """
    try:
        return _EXECUTION.validate_python(message["execution"])
    except (ValidationError, KeyError) as error:
        raise WireError(f"no execution: {type(error).__name__}") from None


def _message(text: bytes) -> dict[str, Any]:
    try:
        message = json.loads(text) if len(text) <= MAX_LINE else None
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise WireError("expected an object of JSON in one line")
    return message


def identity() -> dict[str, Any]:
    """Who is speaking: only equals share a service.

    That is the user, the interpreter, this package's files and the namespaces: a container sees other files and
    processes than its host does, even where both see one socket.
    """
    spaces = [os.stat(f"/proc/self/ns/{name}").st_ino for name in ("pid", "mnt", "net", "user")]
    return {"uid": os.getuid(), "python": [sys.executable, sys.version], "code": _code(), "namespaces": spaces}


@cache
def _code() -> str:
    """Changes with every edit, so that a service which runs older files is not met."""
    folder = Path(__file__).parent
    files = sorted([*folder.rglob("*.py"), *folder.parent.glob("*.py")])
    return content_id([str(folder), [(path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in files]])


def socket_path() -> Path:
    """Where the service of this installation listens; its folder is there, ours, and closed to others.

    Raises:
        BackendError: this system has no unix sockets, or the folder cannot be trusted.
    """
    if not hasattr(socket, "AF_UNIX") or not hasattr(socket, "SO_PEERCRED"):
        raise BackendError(f"{sys.platform} has no unix sockets that name their user: run without the service")
    path = _folder() / f"{content_id(identity())}.sock"
    if len(os.fsencode(path)) > PATH_BYTES:
        raise BackendError(f"{path}: too long for a socket: set XDG_RUNTIME_DIR to a shorter folder")
    return path


def _folder() -> Path:
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if given and os.path.isdir(given) and os.stat(given).st_uid == os.getuid():
        folder = Path(given) / "align"
    else:
        folder = Path(tempfile.gettempdir()) / f"align-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise BackendError(f"{folder}: cannot be used by the service ({error.strerror}): remove it") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise BackendError(f"{folder}: expected a folder of yours that is closed to others (mode 700): remove it")
    return folder


def peer(connection: socket.socket) -> tuple[int, int]:
    """Process and user at the other end, by the kernel's word."""
    process, user, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return process, user
