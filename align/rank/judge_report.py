"""How far a judge can be trusted: order flips, failures, cycles, length, agreement with execution. Judges nothing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .comparison import Comparison, cyclic_triples, length_correlation, wilson

FLIPS, FIRST, LONGER, FAILURES, CYCLES = 0.35, 0.65, 0.75, 0.05, 0.15
"""Shares from which on the report warns. A judge that draws lots flips half of its verdicts and closes a quarter of its
triples; GPT-4 flips up to a third, and prefers the longer of two answers in 68 % of cases (METHODS, Judge ranking)."""

ENOUGH = 10
"""Least number that a share is judged by."""


@dataclass(frozen=True)
class Share:
    """k of n with its 95 % interval."""

    k: int
    n: int

    @property
    def value(self) -> float | None:
        """k / n; None of nothing."""
        return self.k / self.n if self.n else None

    def as_dict(self) -> dict[str, Any]:
        """Plain data, in rounded shares."""
        low, high = wilson(self.k, self.n)
        value = None if self.value is None else round(self.value, 4)
        return {"share": value, "low": round(low, 4), "high": round(high, 4), "n": self.n}

    def __str__(self) -> str:
        if not self.n:
            return "none"
        low, high = wilson(self.k, self.n)
        return f"{100 * self.k / self.n:.1f} % of {self.n} [{100 * low:.1f}, {100 * high:.1f}]"


@dataclass
class JudgeReport:
    """Everything a judge did, and the figures of it."""

    questions: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """Replies without a value, by reason."""
    comparisons: list[Comparison] = field(default_factory=list)
    """Those that rank."""
    audit: list[Comparison] = field(default_factory=list)
    """Those across levels, whose truth is known; they rank nothing."""
    scores: Counter[int] = field(default_factory=Counter)
    """Pointwise: how often each score was given."""
    same_family: list[str] = field(default_factory=list)
    """Candidates of the judge's own family."""
    too_long: int = 0
    """Responses that were too long to be shown."""

    @property
    def everything(self) -> list[Comparison]:
        """What ranks and what only checks."""
        return [*self.comparisons, *self.audit]

    @property
    def failed(self) -> Share:
        """Replies that could not be read."""
        return Share(sum(self.failures.values()), self.questions)

    @property
    def flips(self) -> Share:
        """Pairs of which each order has a winner, and these differ."""
        both = [one for one in self.everything if len(one.votes) == 2 and one.is_read and 0 not in one.votes]
        return Share(sum(one.is_flipped for one in both), len(both))

    @property
    def first(self) -> Share:
        """Votes for the answer that was shown first, of those for either."""
        shown = [vote for one in self.everything if len(one.votes) == 2 for vote in _as_shown(one) if vote]
        return Share(shown.count(1), len(shown))

    @property
    def ties(self) -> Share:
        """Readable comparisons without a winner."""
        read = [one for one in self.comparisons if one.is_read]
        return Share(sum(one.outcome == 0 for one in read), len(read))

    @property
    def longer(self) -> Share:
        """Decided pairs that the longer answer won, where one is longer."""
        decided = [one for one in self.everything if one.outcome and one.lengths[0] != one.lengths[1]]
        return Share(sum(_longer_wins(one) for one in decided), len(decided))

    @property
    def agreement(self) -> Share:
        """Audited and decided pairs on which it agrees with execution."""
        return _agreement(self.audit)

    def as_dict(self) -> dict[str, Any]:
        """All figures as plain data, for `counts` and JSON."""
        triples, cycles = cyclic_triples(self.comparisons)
        correlation = length_correlation(self.everything)
        return {
            "questions": self.questions,
            "failures": dict(sorted(self.failures.items())),
            "failed": self.failed.as_dict(),
            "comparisons": len(self.comparisons),
            "ties": self.ties.as_dict(),
            "flips": self.flips.as_dict(),
            "first": self.first.as_dict(),
            "longer": self.longer.as_dict(),
            "length_correlation": None if correlation is None else round(correlation, 4),
            "triples": triples,
            "cycles": cycles,
            "agreement": {
                **self.agreement.as_dict(),
                "ties": sum(one.outcome == 0 for one in self.audit),
                "where_longer_is_right": _agreement(self.audit, longer=True).as_dict(),
                "where_shorter_is_right": _agreement(self.audit, longer=False).as_dict(),
            },
            "scores": {str(score): self.scores[score] for score in sorted(self.scores)},
            "too_long": self.too_long,
            "same_family": list(self.same_family),
            "warnings": self.warnings(),
        }

    def warnings(self) -> list[str]:
        """One line for every figure that speaks against the judge."""
        triples, cycles = cyclic_triples(self.comparisons)
        found = []
        if self.same_family:
            found.append(f"the judge is of the family of {', '.join(self.same_family)}: it may favour its own")
        if _over(self.failed, FAILURES):
            found.append(f"{self.failed} replies cannot be read ({_reasons(self.failures)}): look at its replies")
        if _over(self.flips, FLIPS):
            found.append(f"the order of showing decides: {self.flips} pairs flip when swapped")
        if _over(self.first, FIRST):
            found.append(f"it prefers what is shown first: {self.first} votes")
        if _over(Share(self.first.n - self.first.k, self.first.n), FIRST):
            found.append(f"it prefers what is shown last: {self.first} votes are for the first")
        if _over(self.longer, LONGER):
            found.append(f"the longer answer wins {self.longer} pairs")
        if _over(Share(cycles, triples), CYCLES):
            found.append(f"its verdicts go in circles: {Share(cycles, triples)} triples")
        if self.agreement.n >= ENOUGH and wilson(self.agreement.k, self.agreement.n)[0] <= 0.5:
            found.append(f"it agrees with execution no better than by chance: {self.agreement} pairs")
        return found

    def table(self) -> list[tuple[str, str]]:
        """(what, figure) rows, to be printed."""
        triples, cycles = cyclic_triples(self.comparisons)
        correlation = length_correlation(self.everything)
        return [
            ("replies not readable", str(self.failed)),
            ("ties", str(self.ties)),
            ("flipped by the order", str(self.flips)),
            ("votes for the first shown", str(self.first)),
            ("won by the longer", str(self.longer)),
            ("correlation with length", "none" if correlation is None else f"{correlation:+.2f}"),
            ("triples in a circle", str(Share(cycles, triples))),
            ("agrees with execution", str(self.agreement)),
        ]


def _as_shown(one: Comparison) -> tuple[int, int]:
    """The two votes, 1 for what was shown first; 0 for ties and for what could not be read."""
    return (one.votes[0] or 0), -(one.votes[1] or 0)


def _longer_wins(one: Comparison) -> bool:
    return (one.lengths[0] > one.lengths[1]) == (one.outcome == 1)


def _agreement(audit: Sequence[Comparison], longer: bool | None = None) -> Share:
    decided = [one for one in audit if one.outcome and one.truth]
    if longer is not None:
        decided = [one for one in decided if one.lengths[0] != one.lengths[1] and _longer_is_right(one) is longer]
    return Share(sum(one.outcome == one.truth for one in decided), len(decided))


def _longer_is_right(one: Comparison) -> bool:
    return (one.lengths[0] > one.lengths[1]) == (one.truth == 1)


def _over(share: Share, limit: float) -> bool:
    """Whether a share is over its limit, of enough to say so."""
    return share.value is not None and share.value > limit and share.n >= ENOUGH


def _reasons(failures: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in failures.most_common())
