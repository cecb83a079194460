"""Sieve the proposed cases of problems by running them on candidate programs, twice, and on mutants.

What remains is what the agreed programs pass. It is agreement, not truth: `gates` says how far it goes, `calibrate`
measures it. Nothing is asked of a model here.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..execute import Profile
from ..execute.isolation import Requested
from ..schema import Problem
from .cases import PROMPT, Case, Dropped
from .consensus import HOLDS, consensus, with_cases, with_programs
from .matrix import OutcomeMatrix, run_matrix
from .mutants import mutants

CONSTANTS = ("None", "True", "False", "0", "1", "-1", "''", "'a'", "[]", "[0]", "{}", "()")
"""What the stubs return: values of both truths."""
TRUTHY = frozenset({"True", "1", "-1", "'a'", "[0]"})
MUTATED = 2
"""Agreed programs of which mutants are made."""
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
class Sieved:
    """What the runs left of a proposal."""

    problem: Problem
    kept: tuple[Case, ...]
    dropped: tuple[Dropped, ...]
    agreement: float
    """Share of the candidates that pass every kept case."""
    teacher_share: float
    """Largest share of the cases that anyone supports which one teacher's program passes."""
    kill_rate: float | None
    """Share of the mutants that a kept case notices; None where there are none."""
    mutants: int
    examples_failed: int
    """Examples of the problem's own text that the agreed programs fail."""


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

    def matrices(self, name: str, items: Iterable[Item]) -> list[OutcomeMatrix]:
        """One matrix an item. Each pass has a cache of its own: the second must really run."""
        cache = self.cache and self.cache.with_name(f"{self.cache.stem}-{name}{self.cache.suffix}")
        found = []
        for matrix in run_matrix(
            items,
            workers=self.workers,
            isolation=self.isolation,
            timeout=self.timeout,
            cache=cache,
            profile=self.profile,
        ):
            found.append(matrix)
            self.on_done(name)
        return found


PASSES = ("cases", "again", "mutants")
"""Names of the passes, in order."""


def sieve(
    proposals: Sequence[Proposal],
    runner: Runner | None = None,
    *,
    most_mutants: int = 24,
    own_votes: bool = False,
) -> list[Sieved]:
    """Run every case on every candidate and keep those that the agreed programs pass.

    Args:
        proposals: each problem has an entry point.
        runner: how programs are run.
        most_mutants: mutants of a problem's agreed programs, at most; 0: none are made.
        own_votes: whether a model's cases vote for its own programs (CodeT's setting, for a single model); otherwise
            what only its own author supports is unsupported.

    A case is dropped as `unsupported` where no candidate passes it, `flaky` where none does so twice, `vacuous` where
    stubs of both truth values pass it, and `outvoted` where the agreed programs fail it: of those that pass the most
    examples of the problem's own text, the groups that CodeT's rule puts first.

    Raises:
        DataError: a problem has no entry point, or is not Python.
        BackendError: programs cannot be run on this machine.
    """
    runner = runner or Runner()
    first = runner.matrices("cases", [_first(one) for one in proposals])
    seen = [_Seen.of(one, matrix) for one, matrix in zip(proposals, first, strict=True)]
    again = runner.matrices("again", [one.again() for one in seen])
    chosen = [_Choice.of(one.settled(matrix), own_votes) for one, matrix in zip(seen, again, strict=True)]
    items = [(one.seen.problem, one.mutants(most_mutants), [case.source for case in one.kept]) for one in chosen]
    killed = runner.matrices("mutants", items)
    return [one.sieved(matrix) for one, matrix in zip(chosen, killed, strict=True)]


def _first(proposal: Proposal) -> Item:
    stubs = [_stub(proposal.problem, value) for value in CONSTANTS]
    codes = [candidate.code for candidate in proposal.candidates]
    return proposal.problem, [*codes, *stubs], [case.source for case in proposal.cases]


def _stub(problem: Problem, value: str) -> str:
    return f"def {problem.entry_point}(*args, **kwargs):\n    return {value}\n"


@dataclass(frozen=True)
class _Seen:
    """The first pass over one problem, without its stubs."""

    proposal: Proposal
    matrix: OutcomeMatrix
    vacuous: frozenset[str]
    flaky: frozenset[str] = frozenset()

    @property
    def problem(self) -> Problem:
        return self.proposal.problem

    @classmethod
    def of(cls, proposal: Proposal, matrix: OutcomeMatrix) -> "_Seen":
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

    def settled(self, again: OutcomeMatrix) -> "_Seen":
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
        return "vacuous" if case.source in self.vacuous else None


@dataclass(frozen=True)
class _Choice:
    """The agreed programs of one problem, and the cases that they pass."""

    seen: _Seen
    best: tuple[int, ...]
    kept: tuple[Case, ...]
    dropped: tuple[Dropped, ...]

    @classmethod
    def of(cls, seen: _Seen, own_votes: bool) -> "_Choice":
        matrix, cases = seen.matrix, seen.proposal.cases
        scores = _scores(seen, own_votes)
        top = max(scores, default=0.0)
        best = tuple(row for row, score in enumerate(scores) if top and score == top)
        kept, dropped = [], []
        place_of = {case: place for place, case in enumerate(matrix.cases)}
        for case in cases:
            place = place_of[case.source]
            reason = seen.reason(case, place)
            if reason is None and not (best and all(matrix.outcomes[row][place] == HOLDS for row in best)):
                reason = "outvoted"
            if reason:
                dropped.append(Dropped(case.source, reason))
            else:
                kept.append(case)
        return cls(seen, best, tuple(kept), tuple(dropped))

    def mutants(self, most: int) -> list[str]:
        """Mutants of the agreed programs, the shortest first."""
        sources = sorted((self.seen.matrix.programs[row] for row in self.best), key=lambda text: (len(text), text))
        used = sources[:MUTATED]
        found = [one for text in used for one in mutants(text, most // len(used), self.seen.problem.id)]
        return [one for one in dict.fromkeys(found) if one not in sources]

    def sieved(self, killed: OutcomeMatrix) -> Sieved:
        matrix = self.seen.matrix
        usable = _usable(self.seen)
        total = sum(matrix.program_counts)
        sources = {case.source for case in self.kept}
        places = [place for place, case in enumerate(matrix.cases) if case in sources]
        passing = [row for row, line in enumerate(matrix.outcomes) if all(line[place] == HOLDS for place in places)]
        dead = sum(any(letter != HOLDS for letter in line) for line in killed.outcomes)
        examples = [case.source for case in self.seen.proposal.cases if case.is_example]
        return Sieved(
            problem=self.seen.problem,
            kept=self.kept,
            dropped=self.dropped,
            agreement=sum(matrix.program_counts[row] for row in passing) / total if total and self.kept else 0.0,
            teacher_share=_teacher_share(self.seen, usable),
            kill_rate=dead / len(killed.programs) if killed.programs and self.kept else None,
            mutants=len(killed.programs),
            examples_failed=sum(example not in sources for example in examples),
        )


def _usable(seen: _Seen) -> list[int]:
    """Places of the cases that somebody supports."""
    index = {case.source: case for case in seen.proposal.cases}
    return [place for place, case in enumerate(seen.matrix.cases) if seen.reason(index[case], place) is None]


def _scores(seen: _Seen, own_votes: bool) -> list[float]:
    """The consensus score of each program among those that pass the most examples; 0 for the others."""
    usable = set(_usable(seen))
    counts = {case.source: case.count for case in seen.proposal.cases}
    voting = {case: counts[case] for place, case in enumerate(seen.matrix.cases) if place in usable}
    authors = {case.source: case.names for case in seen.proposal.cases}
    examples = {case for case in voting if PROMPT in authors[case]}
    passed = [_passed(seen.matrix, line, examples) for line in seen.matrix.outcomes]
    most = max(passed, default=0)
    scores = [0.0] * len(passed)
    for model in sorted({candidate.model for candidate in seen.proposal.candidates}):
        others = {case: n for case, n in voting.items() if own_votes or authors[case] != {model}}
        matrix = with_cases(seen.matrix, others)
        own = {candidate.code for candidate in seen.proposal.candidates if candidate.model == model}
        # a share of what could vote: what votes for one model's programs is more than for another's
        for row, score in enumerate(consensus(matrix).scores):
            if seen.matrix.programs[row] in own and passed[row] == most and matrix.cases:
                scores[row] = max(scores[row], score / len(matrix.cases))
    return scores


def _passed(matrix: OutcomeMatrix, line: str, cases: set[str]) -> int:
    return sum(letter == HOLDS and case in cases for case, letter in zip(matrix.cases, line, strict=True))


def _teacher_share(seen: _Seen, usable: Sequence[int]) -> float:
    teachers = {candidate.code for candidate in seen.proposal.candidates if candidate.teacher}
    rows = [line for code, line in zip(seen.matrix.programs, seen.matrix.outcomes, strict=True) if code in teachers]
    held = [sum(line[place] == HOLDS for place in usable) for line in rows]
    return max(held, default=0) / len(usable) if usable else 0.0


def _holds(matrix: OutcomeMatrix, place: int) -> bool:
    return any(line[place] == HOLDS for line in matrix.outcomes)


def _places(matrix: OutcomeMatrix) -> range:
    return range(len(matrix.cases))
