"""Lines of bytes between two processes that need not trust each other. Knows nothing of what they say."""

import os

from .codec import MAX_BYTES

_CHUNK = 1 << 16


class Gone(BaseException):
    """The other side is not there any more. Not an Exception: tests that expect "any exception" must not take it."""


class Protocol(Gone):
    """The other side broke the rules of the conversation, which ends with it."""


class Line:
    """Lines of bytes over one stream socket. Takes no ownership of the descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._buffer = bytearray()

    def send(self, data: bytes) -> None:
        """Send one line.

        Raises:
            Gone: nobody reads.
        """
        rest = memoryview(data + b"\n")
        try:
            while rest:
                rest = rest[os.write(self.descriptor, rest) :]
        except OSError as error:
            raise Gone(f"cannot send: {error.strerror}") from None

    def receive(self) -> bytes:
        """The next line.

        Raises:
            Gone: nobody writes.
            Protocol: the line is longer than the codec allows.
        """
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > MAX_BYTES:
                raise Protocol(f"a message is longer than {MAX_BYTES} bytes")
            self._buffer += self._read()
        if end > MAX_BYTES:
            raise Protocol(f"a message is longer than {MAX_BYTES} bytes")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _read(self) -> bytes:
        try:
            chunk = os.read(self.descriptor, _CHUNK)
        except OSError as error:
            raise Gone(f"cannot receive: {error.strerror}") from None
        if not chunk:
            raise Gone("the other side has closed")
        return chunk
