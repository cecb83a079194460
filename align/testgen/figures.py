"""Rates that compare a test set's verdicts with the truth, and Kendall's τ. Pure functions of counts; runs nothing."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any


@dataclass(frozen=True)
class Measured:
    """What one problem's tests say of its programs, beside the truth."""

    true_cases: int
    cases: int
    """Cases of which it is known whether they are true."""
    programs: Mapping[tuple[float, bool], int]
    """(share of the cases passed, whether the program is right) → programs."""


@dataclass(frozen=True)
class Figures:
    """A set of problems; a rate of nothing is None."""

    problems: int
    cases: int
    precision: float | None
    """Share of the cases that the right program passes."""
    programs: int
    false_pass: float | None
    """Share of the wrong programs that pass every case."""
    false_fail: float | None
    """Share of the right programs that fail one."""
    right_of_passing: float | None
    """Share of the programs passing every case that are right."""
    tau: float | None
    """Kendall's τ-b of the share of cases passed with being right, a mean over problems that have programs of both
    kinds; tests that order nothing count as 0."""
    tau_problems: int

    def row(self) -> dict[str, Any]:
        """The figures as JSON data, rates to four digits."""
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self).items()}


def figures(found: Iterable[Measured]) -> Figures:
    """The figures of some problems: cases and programs are counted over all of them, τ is a mean over problems."""
    measured = list(found)
    counts: Counter[tuple[bool, bool]] = Counter()
    for one in measured:
        for (share, right), number in one.programs.items():
            counts[share == 1.0, right] += number
    taus = [tau for one in measured if (tau := kendall(one.programs)) is not None]
    cases = sum(one.cases for one in measured)
    return Figures(
        problems=len(measured),
        cases=cases,
        precision=_rate(sum(one.true_cases for one in measured), cases),
        programs=sum(counts.values()),
        false_pass=_rate(counts[True, False], counts[True, False] + counts[False, False]),
        false_fail=_rate(counts[False, True], counts[False, True] + counts[True, True]),
        right_of_passing=_rate(counts[True, True], counts[True, True] + counts[True, False]),
        tau=_rate(sum(taus), len(taus)),
        tau_problems=len(taus),
    )


def kendall(pairs: Mapping[tuple[float, bool], int]) -> float | None:
    """Kendall's τ-b of (share, right) pairs with their frequencies, in [-1, 1].

    None where all programs are right or all are wrong: there is no order to be found; 0 where the shares are all equal.
    """
    total = sum(pairs.values())
    right = sum(count for (_, is_right), count in pairs.items() if is_right)
    shares: Counter[float] = Counter()
    for (share, _), count in pairs.items():
        shares[share] += count
    if right in (0, total):
        return None
    ordered = sum(
        (one > other) * number * count - (one < other) * number * count
        for (one, good), number in pairs.items()
        if good
        for (other, also), count in pairs.items()
        if not also
    )
    untied = total * (total - 1) / 2 - sum(count * (count - 1) / 2 for count in shares.values())
    return ordered / sqrt(untied * right * (total - right)) if untied else 0.0


def _rate(part: float, whole: float) -> float | None:
    return part / whole if whole else None
