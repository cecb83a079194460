"""Hard limits on what an endpoint may be asked: tries, tokens, cost. Counts; sends nothing and keeps nothing on disk.

What is in flight is reserved at the most that it can cost, so that no limit is passed whatever the answers are.
"""

from collections.abc import Callable
from typing import NamedTuple

from ..models.entry import Endpoint

MILLION = 1_000_000


class Spent(NamedTuple):
    """What was asked for, or answered."""

    requests: int = 0
    """Tries that were sent."""
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def plus(self, other: "Spent") -> "Spent":
        """Both together."""
        return Spent(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def minus(self, other: "Spent") -> "Spent":
        """What is left without the other."""
        return Spent(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))

    def at_most(self, other: "Spent") -> bool:
        """Whether nothing in it is more than in the other."""
        return all(mine <= theirs for mine, theirs in zip(self, other, strict=True))

    def peak(self, other: "Spent") -> "Spent":
        """The greater one of each."""
        return Spent(*map(max, self, other))

    @property
    def tokens(self) -> int:
        """Those of prompts and of answers."""
        return self.prompt_tokens + self.completion_tokens


def cost(entry: Endpoint, spent: Spent) -> float | None:
    """In the currency of the entry's prices; None where it has none."""
    prices = entry.price_per_million
    if not prices:
        return None
    prompt, completion = prices.get("prompt", 0.0), prices.get("completion", 0.0)
    return (spent.prompt_tokens * prompt + spent.completion_tokens * completion) / MILLION


class Budget:
    """The limits of an entry, what is spent, and what is reserved for requests in flight.

    Args:
        entry: its `max_requests`, `max_tokens` and `max_cost` are the limits.
        spent: by the run so far.
        reserving: called before a reservation that is greater than all before it counts.
    """

    def __init__(self, entry: Endpoint, spent: Spent, reserving: Callable[[Spent], None] = lambda _: None) -> None:
        self.entry = entry
        self.spent = spent
        self.reserved = self.most = Spent()
        self._reserving = reserving

    def lacks(self, worst: Spent) -> str | None:
        """The limit that leaves no room for one more try, beside what is spent and in flight; None where all do."""
        entry, after = self.entry, self.spent.plus(self.reserved).plus(worst)
        if entry.max_requests is not None and after.requests > entry.max_requests:
            return f"max_requests {entry.max_requests:,}"
        if entry.max_tokens is not None and after.tokens > entry.max_tokens:
            return f"max_tokens {entry.max_tokens:,}"
        if entry.max_cost is not None and (cost(entry, after) or 0.0) > entry.max_cost:
            return f"max_cost {entry.max_cost:g}"
        return None

    def reserve(self, worst: Spent) -> None:
        """Count a try that is about to be sent."""
        reserved = self.reserved.plus(worst)
        if not reserved.at_most(self.most):
            self.most = self.most.peak(reserved)
            self._reserving(self.most)
        self.reserved = reserved

    def settle(self, worst: Spent, spent: Spent) -> None:
        """Count what it came to."""
        self.reserved = self.reserved.minus(worst)
        self.spent = self.spent.plus(spent)
