"""Messages with descriptors between supervisor, zygote and tester: JSON, one datagram each. Never pickle or marshal.

Candidates hold no end of any such channel.
"""

import json
import socket
from collections.abc import Sequence
from typing import Any

MESSAGE_BYTES = 1 << 17
"""Largest message; whatever is longer travels in a file whose descriptor is sent."""
_FDS = 64


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends that keep messages apart."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(channel: socket.socket, message: dict[str, Any], fds: Sequence[int] = ()) -> int:
    """Send one message; its length.

    Raises:
        OSError: the other side is gone, or the message is too long.
    """
    # ascii escapes carry lone surrogates, which model output has, through any encoding
    body = json.dumps(message).encode("ascii")
    if fds:
        socket.send_fds(channel, [body], fds)
    else:
        channel.sendall(body)
    return len(body)


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message and its descriptors, or None when the other side has gone."""
    try:
        body, fds, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, _FDS)
    except ConnectionError:
        return None
    if not body:
        return None
    message: dict[str, Any] = json.loads(body)
    return message, list(fds)
