"""What runs when cases are sieved: proposals, the passes over their programs and cases, and what these have shown.

Decides nothing: see `sieve`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..execute import Profile
from ..execute.isolation import Requested
from ..schema import Problem
from .cases import Case
from .consensus import HOLDS, with_programs
from .matrix import OutcomeMatrix, run_matrix

CONSTANTS = ("None", "True", "False", "0", "1", "-1", "''", "'a'", "[]", "[0]", "{}", "()")
"""What the stubs return: values of both truths."""
TRUTHY = frozenset({"True", "1", "-1", "'a'", "[0]"})
Item = tuple[Problem, Sequence[str], Sequence[str]]


@dataclass(frozen=True)
class Candidate:
    """A program that a model wrote for a problem."""

    model: str
    code: str
    teacher: bool = True
    """Whether it counts for the gate that wants a teacher to pass."""


@dataclass(frozen=True)
class Proposal:
    """A problem without tests, the cases proposed for it, and programs to run them on."""

    problem: Problem
    cases: Sequence[Case]
    candidates: Sequence[Candidate]


@dataclass(frozen=True)
class Runner:
    """How programs are run: as of `Pool`, with a progress bar for each pass."""

    workers: int | None = None
    isolation: Requested = "auto"
    timeout: float | None = None
    """CPU seconds of one call."""
    cache: Path | None = None
    profile: Profile | None = None
    on_done: Callable[[str], None] = lambda _: None
    """Called with a pass's name for each problem that is done."""

    def cache_of(self, name: str) -> Path | None:
        """The cache of a pass."""
        return self.cache and self.cache.with_name(f"{self.cache.stem}-{name}{self.cache.suffix}")

    def matrices(self, name: str, items: Iterable[Item]) -> list[OutcomeMatrix]:
        """One matrix an item. Each pass has a cache of its own: the second must really run."""
        found = []
        for matrix in run_matrix(
            items,
            workers=self.workers,
            isolation=self.isolation,
            timeout=self.timeout,
            cache=self.cache_of(name),
            profile=self.profile,
        ):
            found.append(matrix)
            self.on_done(name)
        return found


def first(proposal: Proposal) -> Item:
    """What the first pass runs: all programs, and stubs."""
    stubs = [_stub(proposal.problem, value) for value in CONSTANTS]
    codes = [candidate.code for candidate in proposal.candidates]
    return proposal.problem, [*codes, *stubs], [case.source for case in proposal.cases]


def _stub(problem: Problem, value: str) -> str:
    return f"def {problem.entry_point}(*args, **kwargs):\n    return {value}\n"


@dataclass(frozen=True)
class Seen:
    """What passes over one problem have shown, without its stubs."""

    proposal: Proposal
    matrix: OutcomeMatrix
    vacuous: frozenset[str]
    flaky: frozenset[str] = frozenset()

    @property
    def problem(self) -> Problem:
        """The problem."""
        return self.proposal.problem

    @classmethod
    def of(cls, proposal: Proposal, matrix: OutcomeMatrix) -> "Seen":
        """What the first pass shows."""
        rows = {value: matrix.outcomes[matrix.index[_stub(proposal.problem, value)]] for value in CONSTANTS}
        truths = [{value in TRUTHY for value, row in rows.items() if row[place] == HOLDS} for place in _places(matrix)]
        vacuous = frozenset(case for case, found in zip(matrix.cases, truths, strict=True) if len(found) > 1)
        codes = Counter(candidate.code for candidate in proposal.candidates)
        return cls(proposal, with_programs(matrix, codes), vacuous)

    def again(self) -> Item:
        """What is worth a second run: programs and cases that hold somewhere, the cases in reverse."""
        held = [case for place, case in enumerate(self.matrix.cases) if _holds(self.matrix, place)]
        codes = [self.matrix.programs[row] for row, line in enumerate(self.matrix.outcomes) if HOLDS in line]
        return self.problem, codes, held[::-1]

    def settled(self, again: OutcomeMatrix) -> "Seen":
        """What held once and not again holds no more."""
        columns = {case: place for place, case in enumerate(again.cases)}
        flaky, outcomes = set(), []
        for program, line in zip(self.matrix.programs, self.matrix.outcomes, strict=True):
            other = again.outcomes[again.index[program]] if program in again.index else ""
            letters = [
                letter if letter != HOLDS or other[columns[case]] == HOLDS else "0"
                for case, letter in zip(self.matrix.cases, line, strict=True)
            ]
            flaky |= {case for case, old, new in zip(self.matrix.cases, line, letters, strict=True) if old != new}
            outcomes.append("".join(letters))
        return replace(self, matrix=replace(self.matrix, outcomes=tuple(outcomes)), flaky=frozenset(flaky))

    def reason(self, case: Case, place: int) -> str | None:
        """Why a case cannot be used, whatever the programs agree on."""
        if not _holds(self.matrix, place):
            return "flaky" if case.source in self.flaky else "unsupported"
        # a constant of the right type passes every check of the interface
        return "vacuous" if case.source in self.vacuous and case.further != "property" else None


def joined(one: Seen, other: Seen) -> Seen:
    """What is known of one problem's cases, and of other cases, on the same programs."""
    matrix, more = one.matrix, other.matrix
    outcomes = tuple(
        line + more.outcomes[more.index[code]] for code, line in zip(matrix.programs, matrix.outcomes, strict=True)
    )
    return Seen(
        replace(one.proposal, cases=[*one.proposal.cases, *other.proposal.cases]),
        replace(
            matrix,
            cases=(*matrix.cases, *more.cases),
            case_counts=(*matrix.case_counts, *more.case_counts),
            outcomes=outcomes,
            returned=(),
        ),
        one.vacuous | other.vacuous,
        one.flaky | other.flaky,
    )


def _holds(matrix: OutcomeMatrix, place: int) -> bool:
    return any(line[place] == HOLDS for line in matrix.outcomes)


def _places(matrix: OutcomeMatrix) -> range:
    return range(len(matrix.cases))
