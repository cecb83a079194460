"""Divide generation by weights over the ranks of a launcher: rank 0 plans and announces, every rank does its share.

All goes through files in a folder that the ranks see: no collective, which hours of other work would trip, and no
batch that depends on how many ranks there are. Who is launched, and how an announcement travels, is the caller's.
"""

import json
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import AlignError, StageError
from ..io import Journal, rows
from ..models.entry import Weights
from ..schema import content_id
from .batched import Batched, load
from .request import Batches, Reply, Request

POLL_SECONDS = 0.2
SEE_SECONDS = 30.0
"""How long a rank waits for its share to appear after the announcement of it."""
TODO, DONE = "todo-{}.jsonl", "done-{}.jsonl"
"""A rank's share, and what it has done of it: one line a batch."""


@dataclass(frozen=True)
class Ranks:
    """The processes that generate together, as rank 0 knows them."""

    size: int
    """How many there are, rank 0 among them."""
    folder: Path
    """A folder that all of them see."""
    announce: Callable[[Path], None]
    """Tells the others of the folder of a job."""


class Divided:
    """A generator on rank 0 that has the other ranks answer a share of the batches.

    Args:
        local: the generator of this process.
        entry: its weights, from which the others make theirs.
        ranks: all of them. With a single one, what others left in an interrupted run is still taken in.
    """

    keeps = False

    def __init__(self, local: Batched, entry: Weights, ranks: Ranks) -> None:
        self.local, self.entry, self.ranks = local, entry, ranks

    def generate(self, requests: Sequence[Request], done: Collection[int] = ()) -> Batches:
        """Answer the requests, batch by batch, in whatever order the ranks finish them.

        Raises:
            ConfigError, DataError: as `Batched.plan`.
            StageError: another rank failed, with its message.
        """
        how = [self.entry.model_dump(), self.local.batch_size]
        job = self.ranks.folder / content_id([how, [request.key for request in requests]])
        answered = set(done)
        for replies in _left(job):
            if not answered.issuperset(replies):
                answered |= replies.keys()
                yield replies
        shutil.rmtree(job, ignore_errors=True)
        if self.ranks.size == 1:
            yield from self.local.generate(requests, answered)
            return
        waiting = [indices for indices in self.local.plan(requests) if not answered.issuperset(indices)]
        own, *others = deal(waiting, self.ranks.size)
        shares = self._hand_out(job, others, requests)
        for indices in own:
            yield dict(zip(indices, self.local.batch([requests[index] for index in indices]), strict=True))
            for share in shares:
                yield from share.news()
        while not all(share.is_over for share in shares):
            time.sleep(POLL_SECONDS)
            for share in shares:
                yield from share.news()
        shutil.rmtree(job, ignore_errors=True)

    def _hand_out(self, job: Path, others: list[list[list[int]]], requests: Sequence[Request]) -> "list[_Share]":
        """Write the others' shares, and announce them."""
        if not any(others):
            return []
        job.mkdir(parents=True)
        for rank, batches in enumerate(others, start=1):
            with Journal(job / TODO.format(rank)) as todo:
                todo.append({"entry": self.entry.model_dump(), "batch_size": self.local.batch_size})
                for indices in batches:
                    asked = [requests[index].model_dump() for index in indices]
                    todo.append({"indices": indices, "requests": asked})
        self.ranks.announce(job)
        return [_Share(job, rank) for rank in range(1, self.ranks.size)]


class _Share:
    """What rank 0 sees of another rank's work."""

    def __init__(self, job: Path, rank: int) -> None:
        self.rank, self.is_over = rank, False
        self._path, self._read = job / DONE.format(rank), 0

    def news(self) -> Batches:
        """The batches that were finished since the last look.

        Raises:
            StageError: the rank has failed.
        """
        for entry in self._entries():
            if "error" in entry:
                raise StageError(f"rank {self.rank}: {entry['error']}")
            self.is_over = self.is_over or "over" in entry
            if "replies" in entry:
                yield _replies(entry)

    def _entries(self) -> Iterator[dict[str, Any]]:
        if not self._path.is_file():
            return
        with open(self._path, "rb") as file:
            file.seek(self._read)
            whole, end, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(end)
        for line in whole.splitlines():
            yield json.loads(line)


class Follower:
    """A rank above 0. It keeps the model of its last share loaded until it is told that the stage is over."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self._loaded: tuple[dict[str, Any], Batched] | None = None

    def work(self, job: Path) -> None:
        """Do this rank's share of a job; a failure is left for rank 0, which ends the run with it."""
        with Journal(job / DONE.format(self.rank)) as done:
            try:
                for entry in self._batches(job / TODO.format(self.rank)):
                    done.append(entry)
            except AlignError as error:
                done.append({"error": str(error)})
            except Exception as error:
                done.append({"error": f"{type(error).__name__}: {error}"})
                raise
            else:
                done.append({"over": True})

    def leave(self) -> None:
        """The stage is over: its model is given up."""
        self._loaded = None

    def _batches(self, todo: Path) -> Iterator[dict[str, Any]]:
        _wait_for(todo, self.rank)
        lines = (row for _, row in rows(todo))
        how, local = next(lines), None
        for batch in lines:
            # a rank without a batch loads nothing
            local = local or self._model(how)
            requests = [Request.model_validate(request) for request in batch["requests"]]
            replies = dict(zip(batch["indices"], local.batch(requests), strict=True))
            yield {"replies": {str(i): reply.model_dump(exclude_defaults=True) for i, reply in replies.items()}}

    def _model(self, how: dict[str, Any]) -> Batched:
        if self._loaded is None or self._loaded[0] != how:
            # the old one goes before the new one comes
            self._loaded = None
            self._loaded = how, load(Weights.model_validate(how["entry"]), how["batch_size"])
        return self._loaded[1]


def deal(batches: list[list[int]], ranks: int) -> list[list[list[int]]]:
    """Each rank's share of batches that are ordered by length: there and back again, so that no rank gets the longer
    one of every turn."""
    shares: list[list[list[int]]] = [[] for _ in range(ranks)]
    for number, batch in enumerate(batches):
        turn, place = divmod(number, ranks)
        shares[place if turn % 2 == 0 else ranks - 1 - place].append(batch)
    return shares


def _left(job: Path) -> Batches:
    """The batches that other ranks had finished when an earlier run was interrupted."""
    for path in sorted(job.glob(DONE.format("*"))):
        with Journal(path) as log:
            yield from (_replies(entry) for entry in log.entries if "replies" in entry)


def _replies(entry: dict[str, Any]) -> dict[int, Reply]:
    return {int(index): Reply.model_validate(reply) for index, reply in entry["replies"].items()}


def _wait_for(todo: Path, rank: int) -> None:
    started = time.monotonic()
    while not todo.is_file():
        if time.monotonic() - started > SEE_SECONDS:
            raise StageError(f"rank {rank} does not see {todo}: put runs/ on a shared disk")
        time.sleep(POLL_SECONDS)
