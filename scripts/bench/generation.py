"""What asking an endpoint costs: our generator, with every answer kept on disk, beside the plain `openai` SDK.

    python scripts/bench/generation.py [--quick] [--json FILE] [--rounds N] [--distilabel PYTHON]

A loopback server on another core answers every request after 2 s; 256 are in flight. The ideal is one answer for each
place in flight every 2 s: 128 a second. That all get the same answers is checked before anything is timed. The time is
that of the whole call: looking at the server, opening connections, keeping answers, closing. distilabel wants an
interpreter of its own that has it (`pip install distilabel openai requests`).
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import openai

from align.errors import AlignError, BackendError
from align.generate import Request, Sampling
from align.generate.endpoint import EndpointGenerator
from align.io import write_json
from align.models.entry import Endpoint
from align.schema import Message

SECONDS, IN_FLIGHT, REQUESTS, ROUNDS = 2.0, 256, 2560, 2
QUICK_SECONDS, QUICK_IN_FLIGHT, QUICK_REQUESTS = 0.5, 32, 128
SHARE, CPU_MS = 0.95, 3.0
"""The targets."""
WORDS = "Write a Python function that takes a list of numbers and returns the sum of their squares. " * 10
MISTAKE = 2

Answers = list[str]
Contender = Callable[[str, Sequence[Request], int], tuple[Answers, float]]
"""(address, requests, most in flight) → the answers, and the CPU seconds that they took."""


@dataclass
class Taken:
    """What a contender has taken, a value a round."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    """The whole bench; returns the exit code: 1 if answers differ, 2 for a mistake, otherwise 0."""
    arguments = parser().parse_args(argv)
    try:
        return bench(arguments)
    except AlignError as error:
        print(f"generation: {error}", file=sys.stderr)
        return MISTAKE


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="generation", description="What asking an endpoint costs.")
    found.add_argument("--quick", action="store_true", help="few requests: shows that it works, no figures")
    found.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"of each contender; {ROUNDS}")
    found.add_argument("--distilabel", metavar="PYTHON", help="also ask by distilabel, of this interpreter")
    found.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    return found


def bench(arguments: argparse.Namespace) -> int:
    """Check, measure and print."""
    seconds, in_flight, count = SECONDS, IN_FLIGHT, REQUESTS
    if arguments.quick:
        seconds, in_flight, count = QUICK_SECONDS, QUICK_IN_FLIGHT, QUICK_REQUESTS
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    print("\n".join(header(seconds, in_flight, count, cores)), flush=True)
    contenders: dict[str, Contender] = {"align": here(ours), "openai": here(plain)}
    if arguments.distilabel:
        contenders["distilabel"] = Elsewhere(arguments.distilabel)
    with served(0.0, cores[0]) as url:
        wrong = [name for name, contender in contenders.items() if not equal(contender, url, in_flight)]
    if wrong:
        print(f"answers are not the server's: {', '.join(wrong)}: not timed")
        return 1
    found = {name: Taken() for name in contenders}
    with served(seconds, cores[0]) as url:
        for number in range(1 if arguments.quick else arguments.rounds):
            for name, contender in contenders.items():
                measure(contender, url, requests(count, f"round {number}"), in_flight, found[name])
                told = f"{found[name].seconds[-1]:.2f} s, {1000 * found[name].cpu[-1] / count:.2f} ms CPU a request"
                print(f"  {name:<8} {told}", flush=True)
    ideal = count * seconds / in_flight
    print("\n".join(["", *table(found, ideal, count, targets=not arguments.quick)]))
    if arguments.json:
        write_json(arguments.json, results(found, ideal, count))
    return 0


def requests(count: int, word: str) -> list[Request]:
    """Different ones, of about 1 kB."""
    sampling = Sampling(temperature=0.7, max_new_tokens=512)
    return [
        Request(prompt=[Message(role="user", content=f"{WORDS}{word} {index}")], sampling=sampling, seed=index)
        for index in range(count)
    ]


def ours(url: str, asked: Sequence[Request], in_flight: int) -> Answers:
    """The generator, which keeps every answer on disk."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        entry = Endpoint(base_url=url, model="m", max_concurrency=in_flight)
        found: dict[int, str] = {}
        for batch in EndpointGenerator(entry, Path(folder)).generate(asked):
            found.update({index: reply.text for index, reply in batch.items()})
    return [found[index] for index in range(len(asked))]


def plain(url: str, asked: Sequence[Request], in_flight: int) -> Answers:
    """The SDK as its documentation shows it: as many tasks as may be in flight, and nothing kept."""
    found: list[str] = [""] * len(asked)

    async def worker(client: openai.AsyncOpenAI, indices: Iterator[int]) -> None:
        for index in indices:
            prompt, sampling = asked[index].prompt, asked[index].sampling
            messages: Any = [turn.model_dump() for turn in prompt if not isinstance(turn, str)]
            reply = await client.chat.completions.create(
                model="m",
                messages=messages,
                temperature=sampling.temperature,
                max_tokens=sampling.max_new_tokens,
                seed=asked[index].seed,
            )
            found[index] = reply.choices[0].message.content or ""

    async def together() -> None:
        indices = iter(range(len(asked)))
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            await asyncio.gather(*(worker(client, indices) for _ in range(in_flight)))

    asyncio.run(together())
    return found


def here(ask: Callable[[str, Sequence[Request], int], Answers]) -> Contender:
    """A contender in this process; its threads count."""

    def measured(url: str, asked: Sequence[Request], in_flight: int) -> tuple[Answers, float]:
        cpu = time.process_time()
        answers = ask(url, asked, in_flight)
        return answers, time.process_time() - cpu

    return measured


class Elsewhere:
    """A contender in a process of its own, which is started once for each address."""

    def __init__(self, python: str) -> None:
        self._python = python
        self._process: subprocess.Popen[str] | None = None
        self._url = ""

    def __call__(self, url: str, asked: Sequence[Request], in_flight: int) -> tuple[Answers, float]:
        """Send the prompts, take the answers."""
        if self._process is None or self._url != url:
            script, self._url = Path(__file__).with_name("distilabel_client.py"), url
            command = [self._python, "-W", "ignore", str(script), url, str(in_flight)]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin
        assert self._process.stdout
        prompts = [turn.content for request in asked for turn in request.prompt if not isinstance(turn, str)]
        self._process.stdin.write(json.dumps(prompts) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise BackendError(f"{self._python} cannot run distilabel: see above")
        found = json.loads(line)
        return found["texts"], found["cpu"]


def equal(contender: Contender, url: str, in_flight: int) -> bool:
    """Whether all answers are those of the server, each in its place; this also warms the contender up."""
    asked = requests(300, "check")
    answers, _ = contender(url, asked, in_flight)
    return answers == [answer(request.prompt[0].content) for request in asked]  # type: ignore[union-attr]


def measure(contender: Contender, url: str, asked: Sequence[Request], in_flight: int, taken: Taken) -> None:
    """Wall and CPU time of the call."""
    start = time.perf_counter()
    _, cpu = contender(url, asked, in_flight)
    taken.seconds.append(time.perf_counter() - start)
    taken.cpu.append(cpu)


def answer(content: str) -> str:
    """The text of an answer, of about 600 characters."""
    return f"def f(x):\n    return {hashlib.sha256(content.encode()).hexdigest()!r}\n" + "# as it was asked for\n" * 23


@contextlib.contextmanager
def served(seconds: float, core: int) -> Iterator[str]:
    """A server in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours_end, its_end = context.Pipe()
    process = context.Process(target=serve, args=(seconds, core, its_end), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours_end.recv()}/v1"
    finally:
        process.terminate()
        process.join()


def serve(seconds: float, core: int, pipe: Any) -> None:
    """Run the server; its port goes through the pipe."""
    os.sched_setaffinity(0, {core})

    async def forever() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Talk(seconds), "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


class Talk(asyncio.Protocol):
    """As little of HTTP as a client needs, so that the server costs next to nothing."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.taken = seconds, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is there whole."""
        self.taken += data
        while (end := self.taken.find(b"\r\n\r\n")) >= 0:
            lines = self.taken[:end].lower().split(b"\r\n")
            length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            if len(self.taken) < end + 4 + length:
                return
            raw, self.taken = self.taken[end + 4 : end + 4 + length], self.taken[end + 4 + length :]
            if lines[0].startswith(b"get"):
                self.write({"object": "list", "data": [{"id": "m", "object": "model"}]})
            else:
                asyncio.get_running_loop().call_later(self.seconds, self.write, completion(json.loads(raw)))

    def write(self, value: Any) -> None:
        """A whole answer."""
        raw = json.dumps(value).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n"
        self.transport.write(head.encode() + raw)


def completion(request: dict[str, Any]) -> dict[str, Any]:
    """A chat completion."""
    message = {"role": "assistant", "content": answer(request["messages"][0]["content"])}
    usage = {"prompt_tokens": 200, "completion_tokens": 150, "total_tokens": 350}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


def results(found: dict[str, Taken], ideal: float, count: int) -> dict[str, Any]:
    """Ours by the names of the targets, and everybody's."""
    rows = {
        name: {
            "share": round(ideal / statistics.median(taken.seconds), 4),
            "cpu_ms_per_request": round(1000 * statistics.median(taken.cpu) / count, 3),
            "seconds": [round(value, 3) for value in taken.seconds],
        }
        for name, taken in found.items()
    }
    return {**rows["align"], "requests": count, "contenders": rows}


def table(found: dict[str, Taken], ideal: float, count: int, *, targets: bool) -> list[str]:
    """A row a contender; MISSED where ours misses a target."""
    lines = ["| client | share of the ideal | CPU a request |", "|---|---|---|"]
    for name, row in results(found, ideal, count)["contenders"].items():
        share, cpu = f"{100 * row['share']:.1f} %", f"{row['cpu_ms_per_request']:.2f} ms"
        if targets and name == "align":
            share += f" (target {100 * SHARE:.0f} %{', MISSED' if row['share'] < SHARE else ''})"
            cpu += f" (target {CPU_MS:g} ms{', MISSED' if row['cpu_ms_per_request'] > CPU_MS else ''})"
        lines.append(f"| {name} | {share} | {cpu} |")
    return lines


def header(seconds: float, in_flight: int, count: int, cores: list[int]) -> list[str]:
    """The conditions."""
    apart = "on another core" if len(cores) > 1 else "on the same core"
    versions = ", ".join(f"{name} {version(name)}" for name in ("openai", "aiohttp", "httpx2"))
    busy = f"load {os.getloadavg()[0]:.1f}"
    return [
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, Python {platform.python_version()}, {versions}, {busy}",
        f"{count:,} requests, {in_flight} in flight, a server {apart} that answers after {seconds:g} s: ideal "
        f"{in_flight / seconds:,.0f} requests/s",
    ]


if __name__ == "__main__":
    sys.exit(main())
