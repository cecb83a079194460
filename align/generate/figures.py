"""What asking an endpoint came to: requests, tries, failures by reason, tokens, cost. Counts; decides nothing."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ..models.entry import Endpoint
from .budget import Spent, cost


@dataclass
class Figures:
    """Of one or several calls."""

    requests: int = 0
    """Different ones."""
    cached: int = 0
    """Answered in an earlier call."""
    answered: int = 0
    retried: Counter[str] = field(default_factory=Counter)
    """Tries that came to nothing and were repeated, by reason."""
    failed: Counter[str] = field(default_factory=Counter)
    """Requests that stay without an answer, by reason."""
    spent: Spent = field(default_factory=Spent)
    """Tries and tokens; where a server does not tell, estimates."""

    @property
    def done(self) -> int:
        """Requests with an answer."""
        return self.cached + self.answered

    def add(self, other: "Figures") -> None:
        """Count those of another call as well."""
        self.requests += other.requests
        self.cached += other.cached
        self.answered += other.answered
        self.retried += other.retried
        self.failed += other.failed
        self.spent = self.spent.plus(other.spent)

    def counts(self, entry: Endpoint) -> dict[str, Any]:
        """Plain data, for a table."""
        found: dict[str, Any] = {
            "requests": self.requests,
            "cached": self.cached,
            "answered": self.answered,
            "failed": dict(sorted(self.failed.items())),
            "tries": self.spent.requests,
            "retried": dict(sorted(self.retried.items())),
            "prompt_tokens": self.spent.prompt_tokens,
            "completion_tokens": self.spent.completion_tokens,
        }
        price = cost(entry, self.spent)
        return found if price is None else found | {"cost": round(price, 6)}

    def line(self, entry: Endpoint) -> str:
        """All of it in one line."""
        price = cost(entry, self.spent)
        parts = [
            f"{self.requests:,} requests",
            f"{self.cached:,} known" if self.cached else "",
            f"{self.answered:,} answered in {self.spent.requests:,} tries",
            f"tried again: {listed(self.retried)}" if self.retried else "",
            f"without an answer: {listed(self.failed)}" if self.failed else "",
            f"{self.spent.prompt_tokens:,} + {self.spent.completion_tokens:,} tokens",
            "" if price is None else f"cost {price:.4g}",
        ]
        return ", ".join(filter(None, parts))


def listed(counter: Counter[str]) -> str:
    """`12 × 429, 3 × time-out`: the most frequent first."""
    return ", ".join(f"{count:,} × {reason}" for reason, count in sorted(counter.items(), key=lambda item: -item[1]))
