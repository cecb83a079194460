"""How far the tests of a problem can be trusted: the gate that makes them `verified`, and what is written of them.

Native tests are verified by definition. Others are `verified` where they pass every gate, `weak` where they fail one,
and `unverified` where nothing was run. What tests are worth in fact is for `calibrate` to measure.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import Field

from ..config import Section
from ..schema import Problem
from .cases import Case, Tier
from .sieve import Sieved

Trust = Literal["verified", "weak", "unverified"]
KEY = "tests"
"""Where `Problem.meta` holds what is known of the tests."""


class Gate(Section):
    """What synthesised tests must show to be `verified`; 0 switches one off."""

    min_cases: int = Field(default=5, ge=0)
    """Cases that are left; those that nobody wrote do not count, and are never enough alone."""
    min_sources: int = Field(default=2, ge=0)
    """Models that wrote them; the examples in the problem's text are one more."""
    teacher_share: float = Field(default=0.8, ge=0, le=1)
    """Share of the cases which one teacher's program passes, of those that anyone passes at all. A program that fails
    an example of the problem's text does not count."""
    kill_rate: float = Field(default=0.6, ge=0, le=1)
    """Share of the agreed programs' mutants that a case notices."""
    agreement: float = Field(default=0.0, ge=0, le=1)
    """Share of the candidates that pass every case."""
    examples: bool = True
    """Whether the agreed programs must pass every example in the problem's text."""

    def failed(self, found: Sieved) -> list[str]:
        """The gates that the tests of a problem do not pass, by the keys here."""
        written = [case for case in found.kept if not case.further]
        values = {
            "min_cases": len(written) >= self.min_cases and bool(written or not found.kept),
            "min_sources": sources(found.kept) >= self.min_sources,
            "teacher_share": found.teacher_share >= self.teacher_share,
            "kill_rate": (found.kill_rate or 0.0) >= self.kill_rate,
            "agreement": found.agreement >= self.agreement,
            "examples": not (self.examples and found.examples_failed),
        }
        return [name for name, passed in values.items() if not passed]


def sources(cases: Iterable[Case]) -> int:
    """How many wrote the cases."""
    return len({name for case in cases for name in case.names})


def tier_of(cases: Iterable[Case]) -> Tier:
    """`extracted` where every written case is an example of the problem's text; what nobody wrote counts where nothing
    is written."""
    tiers = {case.tier for case in cases}
    return next((tier for tier in _TIERS if tier in tiers), "extracted")


_TIERS: tuple[Tier, ...] = ("synthesised", "extracted", "differential", "property")


def _told_of_further(cases: Sequence[Case]) -> dict[str, Any]:
    """How many cases there are of each tier, and what nobody wrote, by its place; nothing where all are written."""
    further = [(place, case) for place, case in enumerate(cases) if case.further]
    if not further:
        return {}
    places = [
        {"test": place, "tier": case.tier, "confidence": round(case.confidence or 0.0, 4)} for place, case in further
    ]
    return {"tiers": dict(sorted(Counter(case.tier for case in cases).items())), "further": places}


def told(cases: list[Case], found: Sieved | None = None, gate: Gate | None = None) -> dict[str, Any]:
    """What `meta["tests"]` says of a problem's cases; without runs they are `unverified`."""
    known: dict[str, Any] = {"tier": tier_of(cases), "cases": len(cases), "sources": sources(cases)}
    known |= _told_of_further(cases)
    if found is None:
        return {**known, "verdict": "unverified"}
    failed = (gate or Gate()).failed(found)
    return {
        **known,
        "verdict": "weak" if failed else "verified",
        "failed": failed,
        "teacher_share": round(found.teacher_share, 4),
        "kill_rate": None if found.kill_rate is None else round(found.kill_rate, 4),
        "mutants": found.mutants,
        "agreement": round(found.agreement, 4),
    }


def trust(problem: Problem) -> Trust | None:
    """How far a problem's tests can be trusted; None where it has none."""
    if not problem.tests:
        return None
    known = problem.meta.get(KEY)
    verdict = known.get("verdict") if isinstance(known, dict) else None
    # a `tests` of the user's own says nothing
    return verdict if verdict in ("weak", "unverified") else "verified"


def is_verified(problem: Problem) -> bool:
    """Whether passing a problem's tests counts as passing: they are its own, or they passed the gates."""
    return trust(problem) == "verified"
