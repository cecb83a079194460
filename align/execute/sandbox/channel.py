"""Plain data between supervisor and zygote: JSON with its length in front. Never pickle or marshal."""

import json
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("<I")


def send(channel: socket.socket, message: dict[str, Any]) -> None:
    """Send one message."""
    # ascii escapes carry lone surrogates, which model output has, through any encoding
    body = json.dumps(message).encode("ascii")
    channel.sendall(_LENGTH.pack(len(body)) + body)


def receive(channel: socket.socket) -> dict[str, Any] | None:
    """The next message, or None when the other side has gone.

    Raises:
        OSError: the connection broke.
    """
    head = _exactly(channel, _LENGTH.size)
    if head is None:
        return None
    body = _exactly(channel, _LENGTH.unpack(head)[0])
    if body is None:
        return None
    message: dict[str, Any] = json.loads(body)
    return message


def _exactly(channel: socket.socket, count: int) -> bytes | None:
    buffer = bytearray()
    while len(buffer) < count:
        part = channel.recv(min(count - len(buffer), 1 << 20))
        if not part:
            return None
        buffer += part
    return bytes(buffer)
