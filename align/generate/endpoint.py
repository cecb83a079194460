"""A model behind one or several OpenAI-compatible servers. Every answer is on disk before it is handed on.

The event loop runs in a thread of its own, so that a notebook, or whoever else has a running loop, can ask as well.
Ctrl-C sends nothing more and keeps what is in flight for `GRACE` seconds; a second one ends at once.
"""

import asyncio
import sys
import tempfile
import threading
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

from ..errors import ConfigError, DataError
from ..models.entry import Endpoint
from .budget import Budget
from .dispatch import Dispatch, Job
from .exchange import reply_key
from .figures import Figures
from .replies import Replies, file_name
from .request import Batches, Reply, Request

GRACE = 30.0
"""Seconds that what is in flight is still awaited after Ctrl-C."""
BATCH = 1000
"""Replies from the file that are handed on at once."""


def check_least(entry: Endpoint, name: str, least: int) -> None:
    """OpenAI's protocol has no least length; vLLM's servers take `min_tokens`.

    Args:
        entry: the endpoint.
        name: what the message calls it.
        least: tokens before which nothing may end an answer; 0 asks for nothing.

    Raises:
        ConfigError: the server is not said to know one.
    """
    if least and entry.extra_body.get("min_tokens") != least:
        raise ConfigError(
            f"{name}: min_new_tokens {least}: a server need not know it: if this one takes vLLM's min_tokens, "
            f"write `extra_body: {{min_tokens: {least}}}` in its entry"
        )


class EndpointGenerator:
    """Asks an endpoint; a `Generator` that keeps its replies.

    Args:
        entry: the endpoint.
        replies: folder of what endpoints answered in this run; without one it is forgotten with the generator.
        name: what messages call the entry, such as `models.teacher`.
    """

    keeps = True

    def __init__(self, entry: Endpoint, replies: Path | None = None, name: str = "") -> None:
        self.entry = entry
        self.name = f"{name} ({entry.model})" if name else f"model {entry.model!r}"
        self.figures = Figures()
        """Of all calls."""
        self._temporary = None if replies else tempfile.TemporaryDirectory(prefix="align-replies-")
        self._path = Path(replies or self._temporary.name) / file_name(entry)  # type: ignore[union-attr]

    def generate(self, requests: Sequence[Request], done: Collection[int] = ()) -> Batches:
        """Replies as they come, those on disk first. A request that is there several times is asked once.

        Raises:
            ConfigError: the entry is wrong: an address, a key, a model; or a least length is asked of a server that is
                not said to know one.
            BackendError: a limit is reached, too many requests fail, or no address answers; answers are kept.
            DataError: answers cannot be kept.
        """
        wanted: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            check_least(self.entry, self.name, request.sampling.min_new_tokens)
            if index not in done:
                wanted.setdefault(reply_key(self.entry, request), []).append(index)
        if wanted:
            call = _Call(self, requests, wanted)
            try:
                yield from call.replies()
            finally:
                call.end()

    def counts(self) -> dict[str, object]:
        """What all calls came to, as plain data."""
        return self.figures.counts(self.entry)


class _Call:
    """One call of `generate`: the file is open, and the loop's thread runs, as long as it lasts."""

    def __init__(self, generator: EndpointGenerator, requests: Sequence[Request], wanted: dict[str, list[int]]) -> None:
        self.generator, self.wanted = generator, wanted
        self.results: SimpleQueue[list[tuple[str, Reply]] | None] = SimpleQueue()
        """What is answered; None at the end."""
        self.file = Replies(generator._path, wanted, self.results.put, self._full)
        self.error: BaseException | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        entry = generator.entry
        self.figures = Figures(requests=len(wanted), cached=len(self.file.answers))
        asked = [Job(key, requests[indices[0]]) for key, indices in wanted.items() if key not in self.file.answers]
        self.asked = len(asked)
        budget = Budget(entry, self.file.spent, self.file.reserving)
        self.dispatch = Dispatch(entry, generator.name, asked, self.file, budget, self.figures, self._given_up)
        self.ended = threading.Event()
        """Waited for in the place of `Thread.join`, after whose interruption Python 3.11 takes the thread for ended."""
        self.running = self.stopping = False

    def replies(self) -> Batches:
        """Everything, in batches."""
        if self.file.damaged:
            told = f"{self.file.path}: {self.file.damaged} damaged lines are ignored"
            print(f"align: warning: {told}", file=sys.stderr, flush=True)
        known = list(self.file.answers.items())
        for start in range(0, len(known), BATCH):
            yield self._indexed(known[start : start + BATCH])
        if not self.asked:
            return
        self.running = True
        threading.Thread(target=self._run, name="align-endpoint", daemon=True).start()
        ended = False
        while not ended:
            batch, ended = self._waiting()
            if batch:
                yield self._indexed(batch)
        self.ended.wait()
        self._close()
        # a loop that ends closes the file's queue: what was still in it has been handed to `results`
        rest, _ = self._waiting(block=False)
        if rest:
            yield self._indexed(rest)
        if self.error:
            raise self.error

    def end(self) -> None:
        """Stop what still runs, keep what comes in within `GRACE` seconds, and close."""
        try:
            if self.running and not self.ended.is_set():
                self._stop()
        finally:
            self._close()

    def _stop(self) -> None:
        told = f"{self.dispatch.in_flight} requests in flight are awaited for {GRACE:g} s: Ctrl-C ends at once"
        print(f"align: {self.generator.name}: stopping: {told}", file=sys.stderr, flush=True)
        self.stopping = True
        try:
            self._tell(self.dispatch.stop)
            self.ended.wait(GRACE)
        finally:
            self._tell(self.dispatch.abandon)
            self.ended.wait()

    def _close(self) -> None:
        if self.file.closed:
            return
        try:
            self.file.close(self.dispatch.unsettled)
        finally:
            self.generator.figures.add(self.figures)
            if self.figures.spent.requests:
                told = self.figures.line(self.generator.entry)
                print(f"align: {self.generator.name}: {told}", file=sys.stderr, flush=True)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            # it is raised again in the thread that asks
            self.error = error
        finally:
            self.results.put(None)
            self.ended.set()

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        if not self.stopping:
            await self.dispatch.run()

    def _tell(self, what: object) -> None:
        if self.loop is not None and not self.ended.is_set():
            try:
                self.loop.call_soon_threadsafe(what)  # type: ignore[arg-type]
            except RuntimeError:
                return  # the loop has just ended by itself

    def _waiting(self, block: bool = True) -> tuple[list[tuple[str, Reply]], bool]:
        """Everything that is answered by now, and whether that is the end."""
        found: list[tuple[str, Reply]] = []
        while True:
            try:
                batch = self.results.get(block=block)
            except Empty:
                return found, False
            if batch is None:
                return found, True
            found += batch
            block = False

    def _indexed(self, batch: list[tuple[str, Reply]]) -> dict[int, Reply]:
        return {index: reply for key, reply in batch for index in self.wanted[key]}

    def _given_up(self, key: str, reply: Reply) -> None:
        self.results.put([(key, reply)])

    def _full(self, error: DataError) -> None:
        """The writer cannot write: nothing more is sent."""
        self._tell(partial(self.dispatch.stop, lambda: error))
