"""The test cases that are proposed for one problem: one assert each, with who wrote it and how often. Runs nothing."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..schema import Problem, Rejected
from .asserts import Assert, read_asserts

Written = Literal["extracted", "synthesised"]
"""What somebody wrote: examples in the problem's text, and what models are asked for."""
Further = Literal["differential", "property"]
"""What is made where programs have been run: values that they agree on, and checks of the interface alone."""
WRITTEN: tuple[Written, ...] = ("extracted", "synthesised")
FURTHER: tuple[Further, ...] = ("differential", "property")
Tier = Literal["native", Written, Further]
"""Where tests come from."""
PROMPT = "prompt"
"""The author of an example that stands in the problem's text."""


@dataclass(frozen=True)
class Case:
    """One proposed test."""

    test: Assert
    authors: tuple[tuple[str, int], ...]
    """Who wrote it, and how often; nobody wrote what runs have shown."""
    further: Further | None = None
    """Its tier where nobody wrote it."""
    confidence: float | None = None
    """Of one that nobody wrote: share of the votes for its value, or of the programs that pass it."""

    @property
    def tier(self) -> Tier:
        """Where it comes from."""
        return self.further or ("extracted" if self.is_example else "synthesised")

    @property
    def source(self) -> str:
        """The assert statement."""
        return self.test.source

    @property
    def names(self) -> frozenset[str]:
        """Its authors."""
        return frozenset(name for name, _ in self.authors)

    @property
    def count(self) -> int:
        """How often it was written."""
        return sum(count for _, count in self.authors)

    @property
    def is_example(self) -> bool:
        """Whether it stands in the problem's text."""
        return any(name == PROMPT for name, _ in self.authors)


@dataclass(frozen=True)
class Dropped:
    """A case that is not used, and why."""

    source: str
    reason: str


def collect(
    entry_point: str | None, examples: Iterable[Assert], written: Iterable[tuple[str, str]], most: int
) -> tuple[list[Case], list[Dropped]]:
    """The cases of one problem in order of appearance, examples first; and those that an example contradicts.

    Args:
        entry_point: asserts on other functions are left out; None: all are taken.
        examples: from the problem's text.
        written: (author, answer) pairs.
        most: asserts taken from one answer.
    """
    found: dict[str, tuple[Assert, Counter[str]]] = {}
    values: dict[str, str] = {}
    for test in examples:
        values[test.call] = test.expected
        found.setdefault(test.source, (test, Counter()))[1][PROMPT] += 1
    dropped = []
    for author, text in written:
        taken = [test for test in read_asserts(text) if entry_point in (None, test.function)][:most]
        for test in taken:
            if values.get(test.call, test.expected) != test.expected:
                dropped.append(Dropped(test.source, "contradicts_example"))
            else:
                found.setdefault(test.source, (test, Counter()))[1][author] += 1
    return [Case(test, tuple(authors.items())) for test, authors in found.values()], dropped


def agreed(cases: Iterable[Case]) -> tuple[list[Case], list[Dropped]]:
    """One case a call, without those calls for which different values are expected: all that can be told unrun."""
    by_call: dict[str, list[Case]] = {}
    for case in cases:
        by_call.setdefault(case.test.call, []).append(case)
    kept, dropped = [], []
    for same in by_call.values():
        if len({case.test.expected for case in same}) == 1:
            authors: Counter[str] = Counter()
            for case in same:
                authors.update(dict(case.authors))
            kept.append(Case(same[0].test, tuple(authors.items())))
        else:
            dropped += [Dropped(case.source, "contradicted") for case in same]
    return kept, dropped


def most_called(cases: Iterable[Case]) -> str | None:
    """The function that most of the cases call, each counted as often as it was written."""
    counted: Counter[str] = Counter()
    for case in cases:
        counted[case.test.function] += case.count
    return counted.most_common(1)[0][0] if counted else None


def one_constant(cases: Sequence[Case]) -> bool:
    """Whether one constant passes all cases, told from their values: `f(…) == 0` throughout."""
    values = {case.test.expected for case in cases if case.further != "property"}
    # checks of the interface are passed by some constant, and so they are beside one value
    return len(values) <= 1


def too_few(cases: Sequence[Case], least: int) -> str | None:
    """Why a set of cases is no test of a problem, if it is none."""
    if len(cases) < least:
        return "few_tests"
    return "vacuous" if one_constant(cases) else None


def with_cases(problem: Problem, entry_point: str | None, cases: Sequence[Case], told: Mapping[str, Any]) -> Problem:
    """The problem with its tests, and in `meta["tests"]` what is known of them; the id follows from the tests."""
    kept = problem.model_dump(exclude={"id"})
    changed = {"tests": [case.source for case in cases], "test_kind": "asserts", "entry_point": entry_point}
    return Problem(**{**kept, **changed, "meta": {**problem.meta, "tests": dict(told)}})


def rejected(problem: Problem, reason: str, detail: str) -> Rejected:
    """The problem, left out."""
    return Rejected(reason=reason, detail=detail, record=problem.model_dump())
