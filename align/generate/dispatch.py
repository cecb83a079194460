"""Ask many requests of an endpoint at once, each until it is answered, refused or given up.

Runs in one event loop: who is asked next, when again, and when to stop. What an answer means is `exchange`'s, how much
an address bears `traffic`'s, what may be spent `budget`'s, and what is kept `replies`'s.
"""

import asyncio
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from ..errors import BackendError
from ..models.entry import Endpoint
from .budget import Budget, Spent
from .client import Client
from .exchange import TIME_OUT, Outcome, estimate, worst
from .figures import Figures, listed
from .preflight import preflight, refused
from .replies import Replies
from .request import Reply, Request
from .traffic import Address, all_down_since, next_rest, pick

BACKOFF_LEAST, BACKOFF_MOST = 0.5, 60.0
"""Seconds: a try waits for a random part of the first, doubled each time, up to the second (full jitter)."""

SPACING = 0.002
"""Seconds between two requests. Sent all at once, they would be answered all at once, and each would wait until the
event loop had taken every one of them in: in every round trip anew, for servers that take equally long."""


@dataclass(slots=True)
class Job:
    """A request that waits for its answer."""

    key: str
    request: Request
    tries: int = 0
    """Those that count towards `max_retries`."""
    waits: int = 0
    """Tries that came to nothing."""
    deadline: float | None = None
    """When it is given up; counted from its first try."""


@dataclass
class Dispatch:
    """One call's requests on their way.

    Args:
        entry: the endpoint.
        name: what messages call it.
        jobs: different requests.
        replies: where answers are kept; it hands them on.
        budget: what may be spent.
        figures: counted here.
        given_up: called with a request's key and the reply that says why it has none.
    """

    entry: Endpoint
    name: str
    jobs: Iterable[Job]
    replies: Replies
    budget: Budget
    figures: Figures
    given_up: Callable[[str, Reply], None]
    unsettled: Spent = field(default_factory=Spent)
    """What was in flight when it was ended at once."""
    _clients: dict[int, Client] = field(default_factory=dict)
    """By the `id` of the address."""
    _addresses: list[Address] = field(default_factory=list)
    _known: tuple[str, ...] = ()
    _fresh: deque[Job] = field(default_factory=deque)
    _again: list[tuple[float, int, Job]] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _stopping: bool = False
    _why: Callable[[], BaseException] | None = None
    _timer: asyncio.TimerHandle | None = None
    _next: float = 0.0
    """When the next request may be sent."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def run(self) -> None:
        """Until every request has its answer, or the run has to stop.

        Raises:
            ConfigError: the entry is wrong.
            BackendError: a limit is reached, too many requests fail, or nobody answers; what is in flight is kept.
            DataError: answers cannot be kept.
        """
        self._loop, self._finished = asyncio.get_running_loop(), asyncio.Event()
        clients = [Client(self.entry, url) for url in dict.fromkeys(self.entry.base_urls)]
        try:
            if await self._look(clients):
                self._fresh.extend(self.jobs)
                self._fill()
            await self._finished.wait()
        finally:
            for client in clients:
                await client.close()
        if self._why:
            raise self._why()

    def stop(self, why: Callable[[], BaseException] | None = None) -> None:
        """Send nothing more; what is in flight is still awaited. Only in the loop."""
        self._stopping = True
        self._why = self._why or why
        if not self._tasks:
            self._finished.set()

    def abandon(self) -> None:
        """Give up what is in flight. Only in the loop."""
        self.stop()
        for task in self._tasks:
            task.cancel()

    async def _look(self, clients: list[Client]) -> bool:
        """Find out what the addresses are; False where it was stopped meanwhile."""
        looking = self._loop.create_task(preflight(clients, self.name))
        finished = self._loop.create_task(self._finished.wait())
        await asyncio.wait([looking, finished], return_when=asyncio.FIRST_COMPLETED)
        if not looking.done():
            looking.cancel()
            return False
        finished.cancel()
        for client, finding in zip(clients, looking.result(), strict=True):
            address = Address(client.shown, self.entry.max_concurrency, finding.confirmed)
            self._clients[id(address)] = client
            self._known += finding.known
            self._addresses.append(address)
            if finding.unreached:
                address.unreached(self._loop.time())
        return True

    def _fill(self) -> None:
        """Send what may be sent now, and set the clock for what may be sent later."""
        try:
            self._send_all()
        except Exception as error:
            # the loop would only log it, and wait for ever
            fault = error
            self.stop(lambda: fault)

    def _send_all(self) -> None:
        now = self._loop.time()
        while not self._stopping:
            self._ripen(now)
            address = pick(self._addresses, now)
            if not self._fresh or address is None:
                break
            if now < self._next:
                self._wake(self._next)
                return
            most = worst(self._fresh[0].request)
            limit = self.budget.lacks(most)
            if limit:
                # an answer in flight may leave room: it is reserved at its worst
                if not self._tasks:
                    self.stop(lambda limit=limit: self._limited(limit))  # type: ignore[misc]
                return
            self._send(self._fresh.popleft(), address, most, now)
        if self._stopping or not (self._tasks or self._fresh or self._again):
            self.stop()
            return
        times = [self._again[0][0]] if self._again else []
        rest = next_rest(self._addresses, now) if self._fresh else None
        self._wake(min([*times, *([rest] if rest is not None else [])], default=None))

    def _ripen(self, now: float) -> None:
        """Take in what is to be asked again by now; give up what has waited too long."""
        while self._again and self._again[0][0] <= now:
            self._fresh.appendleft(heapq.heappop(self._again)[2])
        while self._fresh and (deadline := self._fresh[0].deadline) is not None and deadline <= now:
            self._give_up(self._fresh.popleft(), Outcome("again", reason="total_timeout"))

    def _wake(self, when: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if when is None else self._loop.call_at(when, self._fill)

    def _send(self, job: Job, address: Address, most: Spent, now: float) -> None:
        if job.deadline is None:
            job.deadline = now + self.entry.total_timeout
        self.budget.reserve(most)
        address.sent()
        self._next = max(self._next, now - SPACING) + SPACING
        task = self._loop.create_task(self._ask(job, address, most, now))
        self._tasks.add(task)
        task.add_done_callback(self._over)

    async def _ask(self, job: Job, address: Address, most: Spent, started: float) -> None:
        assert job.deadline is not None
        seconds = max(0.001, min(self.entry.request_timeout, job.deadline - started))
        try:
            outcome = await self._clients[id(address)].ask(job.request, seconds)
        except asyncio.CancelledError:
            self.unsettled = self.unsettled.plus(estimate(job.request))
            self.figures.spent = self.figures.spent.plus(estimate(job.request))
            raise
        spent = Spent() if outcome.fate == "unsent" else outcome.spent
        self.budget.settle(most, spent)
        self.figures.spent = self.figures.spent.plus(spent)
        self._settle(job, address, outcome, started)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # a fault of ours: it must not look like one of the server's
            self.stop(lambda: error)
        self._fill()

    def _settle(self, job: Job, address: Address, outcome: Outcome, started: float) -> None:
        now = self._loop.time()
        address.done()
        if outcome.fate == "answered":
            assert outcome.reply is not None
            address.answered(started, now)
            self.figures.answered += 1
            self.replies.put(job.key, outcome.reply, outcome.spent, (job.key, outcome.reply))
            return
        if outcome.fate == "unsent":
            self._unreached(job, address, outcome, now)
            return
        self.replies.tried(outcome.spent, outcome.reason)
        if self._ends_all(outcome, address):
            error = refused(self.name, self._clients[id(address)], outcome, self._known)
            self.stop(lambda: error)
            return
        if outcome.fate != "again":
            address.proven = True
            self._give_up(job, outcome)
            return
        self._try_again(job, address, outcome, started, now)

    def _ends_all(self, outcome: Outcome, address: Address) -> bool:
        """Whether no other request would fare better: a key or a model that the address does not take."""
        if outcome.reason in ("403", "404", "405", "501"):
            return not address.proven
        return outcome.fate == "fatal"

    def _try_again(self, job: Job, address: Address, outcome: Outcome, started: float, now: float) -> None:
        if outcome.reason == TIME_OUT:
            address.timed_out(started, now)
        elif outcome.busy:
            rest = outcome.retry_after
            address.refused(started, now, None if rest is None else min(rest, self.entry.total_timeout))
        job.waits += 1
        # a server that is busy says nothing about the request: only time limits that
        job.tries += outcome.reason != "429"
        delay = random.uniform(0, min(BACKOFF_MOST, BACKOFF_LEAST * 2 ** min(job.waits, 20)))
        if outcome.retry_after is not None:
            delay = outcome.retry_after + random.uniform(0, BACKOFF_LEAST)
        assert job.deadline is not None
        if job.tries > self.entry.max_retries or now + delay >= job.deadline:
            self._give_up(job, outcome)
            return
        self.figures.retried[outcome.reason] += 1
        heapq.heappush(self._again, (now + delay, next(self._numbers), job))

    def _unreached(self, job: Job, address: Address, outcome: Outcome, now: float) -> None:
        """Nothing was asked, so that the request has lost nothing but time; it goes to another address."""
        address.unreached(now)
        if not job.waits:
            job.deadline = None
        self._back(job)
        since = all_down_since(self._addresses)
        if since is not None and now - since >= self.entry.total_timeout:
            self.stop(lambda: self._lonely(outcome.detail))

    def _back(self, job: Job) -> None:
        self._fresh.appendleft(job)

    def _give_up(self, job: Job, outcome: Outcome) -> None:
        self.figures.failed[outcome.reason] += 1
        said = f"{outcome.reason}: {outcome.detail}" if outcome.detail else outcome.reason
        self.given_up(job.key, Reply(text="", finish="error", error=said))
        if self.figures.failed.total() > self.entry.allowed_failures * self.figures.requests:
            self.stop(lambda: self._too_many(said))

    def _limited(self, limit: str) -> BackendError:
        return BackendError(f"{self.name}: {limit} reached: {self._progress}: raise {limit.split()[0]} and run again")

    def _too_many(self, last: str) -> BackendError:
        failed = f"{self.figures.failed.total():,} of {self.figures.requests:,} requests have no answer"
        allowed = f"allowed_failures is {self.entry.allowed_failures:g}"
        why = f"{listed(self.figures.failed)}; the last: {last}"
        return BackendError(f"{self.name}: {failed} ({why}) and {allowed}: {self._progress}: run again to go on")

    def _lonely(self, why: str) -> BackendError:
        where = ", ".join(address.url for address in self._addresses)
        seconds = f"{self.entry.total_timeout:g} s"
        return BackendError(f"{self.name}: {where} not reached for {seconds} ({why}): {self._progress}: run again")

    @property
    def in_flight(self) -> int:
        """Requests that are out."""
        return len(self._tasks)

    @property
    def _progress(self) -> str:
        return f"{self.figures.done:,} of {self.figures.requests:,} requests are answered and kept"
