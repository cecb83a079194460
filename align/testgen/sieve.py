"""Sieve the proposed cases of problems by running them on candidate programs, twice, and on mutants.

What remains is what the agreed programs pass. It is agreement, not truth: `gates` says how far it goes, `calibrate`
measures it. Nothing is asked of a model here.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from ..schema import Problem
from .cases import PROMPT, Case, Dropped, Further
from .consensus import HOLDS, consensus, top, with_cases
from .further import further_cases
from .matrix import OutcomeMatrix
from .mutants import mutants
from .passes import Candidate, Proposal, Runner, Seen, first, joined

__all__ = ["Candidate", "Proposal", "Runner", "Sieved", "passes", "sieve"]

MUTATED = 2
"""Agreed programs of which mutants are made."""


@dataclass(frozen=True)
class Sieved:
    """What the runs left of a proposal."""

    problem: Problem
    kept: tuple[Case, ...]
    dropped: tuple[Dropped, ...]
    agreement: float
    """Share of the candidates that pass every kept case."""
    teacher_share: float
    """Largest share of the cases that anyone supports which one teacher's program passes, of those that pass every
    example of the problem's own text."""
    kill_rate: float | None
    """Share of the mutants that a kept case notices; None where there are none."""
    mutants: int
    examples_failed: int
    """Examples of the problem's own text that the agreed programs fail."""
    further: tuple[Case, ...] = ()
    """Cases that nobody wrote, kept or not."""


def passes(further: Collection[Further] = ()) -> tuple[str, ...]:
    """Names of the passes in which programs are run, in order; a problem counts once in each."""
    return ("cases", "again", *(("probes", "further", "further-again") if further else ()), "mutants")


def sieve(
    proposals: Sequence[Proposal],
    runner: Runner | None = None,
    *,
    most_mutants: int = 24,
    own_votes: bool = False,
    further: Collection[Further] = (),
) -> list[Sieved]:
    """Run every case on every candidate and keep those that the agreed programs pass.

    Args:
        proposals: each problem has an entry point.
        runner: how programs are run.
        most_mutants: mutants of a problem's agreed programs, at most; 0: none are made.
        own_votes: whether a model's cases vote for its own programs (CodeT's setting, for a single model); otherwise
            what only its own author supports is unsupported.
        further: what is made beside the proposed cases; see `further_cases`. It is sieved as these are, and does not
            vote.

    A case is dropped as `unsupported` where no candidate passes it, `flaky` where none does so twice, `vacuous` where
    stubs of both truth values pass it, and `outvoted` where the agreed programs fail it: of those that pass the most
    examples of the problem's own text, the groups that CodeT's rule puts first.

    Raises:
        DataError: a problem has no entry point, or is not Python.
        BackendError: programs cannot be run on this machine.
    """
    runner = runner or Runner()
    chosen = [_Choice.of(one, own_votes) for one in _seen(proposals, runner, "cases", "again")]
    if further:
        chosen = _with_further(chosen, runner, further, own_votes)
    items = [(one.seen.problem, one.mutants(most_mutants), [case.source for case in one.kept]) for one in chosen]
    killed = runner.matrices("mutants", items)
    return [one.sieved(matrix) for one, matrix in zip(chosen, killed, strict=True)]


def _seen(proposals: Sequence[Proposal], runner: Runner, once: str, again: str) -> list[Seen]:
    """What two passes over proposals show."""
    matrices = runner.matrices(once, [first(one) for one in proposals])
    seen = [Seen.of(one, matrix) for one, matrix in zip(proposals, matrices, strict=True)]
    return [
        one.settled(matrix)
        for one, matrix in zip(seen, runner.matrices(again, [one.again() for one in seen]), strict=True)
    ]


def _with_further(
    chosen: "Sequence[_Choice]", runner: Runner, tiers: Collection[Further], own_votes: bool
) -> "list[_Choice]":
    """The choices with cases that nobody wrote, of those that two more passes leave."""
    made = further_cases(
        [(one.seen, one.trusted(), one.kept) for one in chosen], runner, tiers, least_models=1 if own_votes else 2
    )
    proposals = [replace(one.seen.proposal, cases=cases) for one, cases in zip(chosen, made, strict=True)]
    seen = _seen(proposals, runner, "further", "further-again")
    return [one.joined(other) for one, other in zip(chosen, seen, strict=True)]


@dataclass(frozen=True)
class _Choice:
    """The agreed programs of one problem, and the cases that they pass."""

    seen: Seen
    best: tuple[int, ...]
    kept: tuple[Case, ...]
    dropped: tuple[Dropped, ...]

    @classmethod
    def of(cls, seen: Seen, own_votes: bool) -> "_Choice":
        best = top(_scores(seen, own_votes))
        return cls(seen, best, *_divided(seen, best))

    def trusted(self) -> list[float]:
        """The weight of each program's vote on what nobody wrote: of those that pass the most examples, 1."""
        passed = _examples_passed(self.seen)
        return [float(count == max(passed)) for count in passed]

    def joined(self, other: Seen) -> "_Choice":
        """With cases that nobody wrote. Agreed are those of the agreed programs, or else of all, that pass most of
        them: such cases are there to tell apart programs that pass the same written ones."""
        held = [line.count(HOLDS) for line in other.matrix.outcomes]
        most = max((held[row] for row in self.best or range(len(held))), default=0)
        best = tuple(row for row in self.best or range(len(held)) if held[row] == most)
        kept, dropped = _divided(other, best)
        return _Choice(joined(self.seen, other), best, (*self.kept, *kept), (*self.dropped, *dropped))

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
            further=tuple(case for case in self.seen.proposal.cases if case.further),
        )


def _divided(seen: Seen, best: Sequence[int]) -> tuple[tuple[Case, ...], tuple[Dropped, ...]]:
    """The cases that the agreed programs pass, and the others with the reason."""
    kept, dropped = [], []
    place_of = {case: place for place, case in enumerate(seen.matrix.cases)}
    for case in seen.proposal.cases:
        place = place_of[case.source]
        reason = seen.reason(case, place)
        if reason is None and not (best and all(seen.matrix.outcomes[row][place] == HOLDS for row in best)):
            reason = "outvoted"
        if reason:
            dropped.append(Dropped(case.source, reason))
        else:
            kept.append(case)
    return tuple(kept), tuple(dropped)


def _usable(seen: Seen) -> list[int]:
    """Places of the written cases that somebody supports."""
    index = {case.source: case for case in seen.proposal.cases if not case.further}
    return [
        place
        for place, case in enumerate(seen.matrix.cases)
        if case in index and seen.reason(index[case], place) is None
    ]


def _scores(seen: Seen, own_votes: bool) -> list[float]:
    """The consensus score of each program among those that pass the most examples; 0 for the others."""
    usable = set(_usable(seen))
    counts = {case.source: case.count for case in seen.proposal.cases}
    voting = {case: counts[case] for place, case in enumerate(seen.matrix.cases) if place in usable}
    authors = {case.source: case.names for case in seen.proposal.cases}
    passed = _examples_passed(seen)
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


def _examples_passed(seen: Seen) -> list[int]:
    """How many usable examples of the problem's text each program passes."""
    authors = {case.source: case.names for case in seen.proposal.cases}
    places = [place for place in _usable(seen) if PROMPT in authors[seen.matrix.cases[place]]]
    return [sum(line[place] == HOLDS for place in places) for line in seen.matrix.outcomes]


def _teacher_share(seen: Seen, usable: Sequence[int]) -> float:
    """The largest share of the usable cases that a teacher's program passes, of those that pass every example: where
    all programs err alike they fail an example, and agree on all else."""
    teachers = {candidate.code for candidate in seen.proposal.candidates if candidate.teacher}
    sources = {case.source for case in seen.proposal.cases if case.is_example}
    examples = [place for place, case in enumerate(seen.matrix.cases) if case in sources]
    rows = [line for code, line in zip(seen.matrix.programs, seen.matrix.outcomes, strict=True) if code in teachers]
    held = [
        sum(line[place] == HOLDS for place in usable)
        for line in rows
        if all(line[place] == HOLDS for place in examples)
    ]
    return max(held, default=0) / len(usable) if usable else 0.0
