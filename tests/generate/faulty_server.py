"""An OpenAI-compatible server on loopback that fails in stated ways, and counts what it was asked and what it answered.

What it answers follows from the request alone; how it fails from the seed, the request and the attempt.
"""

import asyncio
import contextlib
import hashlib
import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from random import Random
from time import time
from typing import Any

Plan = Callable[[dict[str, Any], int], str | None]
"""Request and attempt (from 0) → the fault, None for an answer."""
FAULTS = ("429", "429_date", "500", "503", "reset", "cut", "malformed", "html", "empty", "error_in_200", "slow")
ODD_USAGE = (None, {}, {"prompt_tokens": -5, "completion_tokens": 3}, {"prompt_tokens": "7"}, {"prompt_tokens": 10**15})


def randomly(share: float, seed: int = 0, faults: tuple[str, ...] = FAULTS) -> Plan:
    """Each try fails with this probability, in one of these ways."""

    def plan(request: dict[str, Any], attempt: int) -> str | None:
        random = Random(f"{seed} {asked(request)} {attempt}")
        return random.choice(faults) if random.random() < share else None

    return plan


def asked(request: dict[str, Any]) -> str:
    """What tells requests apart."""
    return json.dumps([request.get("prompt"), request.get("messages"), request.get("seed")])


def says(request: dict[str, Any]) -> str:
    """The text of its answer."""
    return "answer " + hashlib.sha256(asked(request).encode()).hexdigest()[:12]


@dataclass
class FaultyServer:
    """Runs in a thread, as long as the context lasts."""

    plan: Plan = lambda request, attempt: None
    delay: float = 0.0
    """Seconds to an answer."""
    capacity: int = 10**9
    """More requests at once than that get a 429."""
    models: Any = field(default_factory=lambda: (200, {"object": "list", "data": [{"id": "m"}]}))
    """Status and body of `GET /models`."""
    reply: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    """The body of an answer."""
    key: str | None = None
    """Other keys get a 401."""
    attempts: Counter[str] = field(default_factory=Counter)
    paid: Counter[str] = field(default_factory=Counter)
    """Answers that were sent whole."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    def __enter__(self) -> "FaultyServer":
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._talk, "127.0.0.1", 0, backlog=1024))
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._exchange(reader, writer):
                pass
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        if self.key is not None and headers.get("authorization") != f"Bearer {self.key}":
            said = f"Incorrect API key provided: {headers.get('authorization')}"
            return await send(writer, 401, {"error": {"message": said, "code": "invalid_api_key"}})
        if lines[0].startswith("GET"):
            return await send(writer, *self.models)
        request = json.loads(raw)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._answer(request, writer)
        finally:
            self.at_once -= 1

    async def _answer(self, request: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        self.bodies.append(request)
        key = asked(request)
        attempt = self.attempts[key]
        self.attempts[key] += 1
        if self.at_once > self.capacity:
            return await send(writer, 429, {"error": {"message": "slow down"}})
        await asyncio.sleep(self.delay)
        fault = self.plan(request, attempt)
        if fault is not None:
            return await fail(fault, writer, answer(request))
        kept = await send(writer, 200, self.reply(request) if self.reply else answer(request))
        self.paid[key] += 1
        return kept


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """A good answer; the usage of one in eight is nonsense, whatever the attempt."""
    text = says(request)
    chat = "messages" in request
    choice = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    number = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
    usage: Any = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    if number % 8 == 0:
        usage = ODD_USAGE[number // 8 % len(ODD_USAGE)]
    return {"id": "x", "choices": [{"index": 0, **choice, "finish_reason": "stop"}], "usage": usage}


async def send(writer: asyncio.StreamWriter, status: int, body: Any, headers: str = "", pause: float = 0.0) -> bool:
    """A whole answer; with a pause it comes in pieces."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(raw)}\r\n{headers}\r\n"
    writer.write(head.encode())
    for start in range(0, len(raw), len(raw) if not pause else 16):
        writer.write(raw[start:] if not pause else raw[start : start + 16])
        await writer.drain()
        await asyncio.sleep(pause)
    return True


async def fail(fault: str, writer: asyncio.StreamWriter, good: dict[str, Any]) -> bool:
    """A fault; whether the connection lives on."""
    if fault == "429":
        return await send(writer, 429, {"error": {"message": "slow down"}}, "Retry-After: 0\r\nretry-after-ms: 20\r\n")
    if fault == "429_date":
        when = formatdate(time() - 1, usegmt=True)
        return await send(writer, 429, {"error": {"message": "slow down"}}, f"Retry-After: {when}\r\n")
    if fault in ("400", "401", "404", "405", "413", "422", "500", "501", "503"):
        return await send(writer, int(fault), {"error": {"message": f"a fault: {fault}"}})
    if fault == "filter":
        return await send(writer, 400, {"error": {"message": "filtered", "code": "content_filter"}})
    if fault == "quota":
        return await send(writer, 429, {"error": {"message": "no money", "code": "insufficient_quota"}})
    if fault == "malformed":
        return await send(writer, 200, json.dumps(good).encode()[:-20])
    if fault == "html":
        return await send(writer, 200, b"<html>down for maintenance</html>")
    if fault == "empty":
        return await send(writer, 200, good | {"choices": []})
    if fault == "error_in_200":
        return await send(writer, 200, {"error": {"message": "upstream", "code": 502}})
    if fault == "slow":
        return await send(writer, 200, good, pause=0.5)
    if fault == "cut":
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + json.dumps(good).encode()[:30])
        await writer.drain()
        return False
    assert fault == "reset", fault
    # a linger of 0 s sends RST
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


@contextlib.contextmanager
def no_server() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
