"""Cases that nobody wrote, of problems whose programs have been run: what these return to new calls, and checks of the
interface.

Calls are those of the proposed cases, right or wrong, and changes of them (`inputs`). `differential` cases are calls on
which programs differ and a clear majority agrees (`differential`). `property` cases are checks that hold from the
interface alone (`properties`); only those that some program fails are taken. Both are proposals: they are sieved as
others are, and do not vote.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from ..execute.sandbox.matrix import NOT_RUN
from .asserts import Assert
from .cases import Case, Further
from .consensus import HOLDS, with_cases
from .differential import telling, votes
from .inputs import Call, propose, read_call
from .matrix import OutcomeMatrix
from .passes import Item, Runner, Seen
from .properties import checks, named_parameters, returned_types
from .values import returned_asserts

CALLS = 40
"""Calls tried on each problem."""
CHECKED = 6
"""Of those that were seen, how many are checked for properties."""
MOST_PROPERTIES = 2
"""Property cases of a problem, of each form."""

Known = tuple[Seen, Sequence[float], Sequence[Case]]
"""What is known of a problem's written cases, the weight of each program's vote, and which cases are kept."""


def further_cases(
    known: Sequence[Known], runner: Runner, tiers: Collection[Further], *, least_models: int = 2
) -> list[list[Case]]:
    """For each problem the cases that its programs lead to; none twice, and none that was written.

    Args:
        known: what is known of each.
        runner: how programs are run: a pass named `probes`, and a run for each value.
        tiers: which to make.
        least_models: models that must agree on a value.
    """
    probes = [_Probe.of(seen, kept, tiers) for seen, _, kept in known]
    matrices = runner.matrices("probes", [probe.item() for probe in probes])
    found = list(map(_Found, known, probes, matrices))
    differential = _differential(found, runner, least_models) if "differential" in tiers else [[] for _ in known]
    return [
        one.new([*cases, *(one.properties() if "property" in tiers else ())])
        for one, cases in zip(found, differential, strict=True)
    ]


@dataclass(frozen=True)
class _Probe:
    """What is tried on the programs of a problem."""

    seen: Seen
    calls: tuple[Call, ...]
    properties: tuple[Assert, ...]

    @classmethod
    def of(cls, seen: Seen, kept: Sequence[Case], tiers: Collection[Further]) -> "_Probe":
        known = {case.test.call for case in kept}
        cases = seen.proposal.cases
        called = [(case, call) for case in cases if (call := read_call(case.test.call)) is not None]
        examples = [call for case, call in called if case.is_example]
        often = [call for case, call in called for _ in range(case.count)]
        calls = propose(often, examples, without=known, most=CALLS, seed=seen.problem.id)
        signature = seen.problem.signature
        types = returned_types(signature, [case.test for case in cases if case.is_example])
        asked = [*examples, *calls][:CHECKED] if "property" in tiers else []
        properties = [check for call in asked for check in checks(call, types, named_parameters(signature))]
        return cls(seen, tuple(calls), tuple(dict.fromkeys(properties)))

    def item(self) -> Item:
        matrix = self.seen.matrix
        return self.seen.problem, matrix.programs, [*self.texts, *(check.source for check in self.properties)]

    @property
    def texts(self) -> list[str]:
        """One case a call, which holds where anything is returned."""
        return [f"assert [{call.source}]" for call in self.calls]


@dataclass(frozen=True)
class _Found:
    """What the programs of a problem made of what was tried."""

    known: Known
    probe: _Probe
    matrix: OutcomeMatrix

    def properties(self) -> Iterator[Case]:
        """The checks that the most programs fail, of each form."""
        matrix, columns = self.matrix, {case: place for place, case in enumerate(self.matrix.cases)}
        loaded = [line for line in matrix.outcomes if set(line) - {NOT_RUN}]
        failing = {
            check: sum(line[columns[check.source]] != HOLDS for line in loaded) for check in self.probe.properties
        }
        telling = sorted((check for check in failing if failing[check]), key=lambda check: -failing[check])
        for typed in (True, False):
            form = [check for check in telling if check.source.startswith("assert isinstance(") is typed]
            for check in form[:MOST_PROPERTIES]:
                yield Case(check, (), "property", 1 - failing[check] / len(loaded))

    def voted(self, least_models: int) -> list[tuple[Call, str, float]]:
        """Calls on which programs differ, a program that returns what is agreed on, and the confidence in that."""
        seen, weights, _ = self.known
        models: dict[str, set[str]] = {}
        for candidate in seen.proposal.candidates:
            models.setdefault(candidate.model, set()).add(candidate.code)
        calls = with_cases(self.matrix, dict.fromkeys(self.probe.texts, 1))
        index = dict(zip(self.probe.texts, self.probe.calls, strict=True))
        return [
            (
                index[calls.cases[vote.place]],
                min((calls.programs[row] for row in vote.agreeing), key=lambda text: (len(text), text)),
                vote.confidence,
            )
            for vote in telling(votes(calls, weights, models, least_models))
        ]

    def new(self, cases: Sequence[Case]) -> list[Case]:
        """Those that nobody wrote; each once."""
        written = {case.source for case in self.known[0].proposal.cases}
        return list({case.source: case for case in cases if case.source not in written}.values())


def _differential(found: Sequence[_Found], runner: Runner, least_models: int) -> list[list[Case]]:
    voted = [one.voted(least_models) for one in found]
    items = [
        (one.probe.seen.problem, code, call.source)
        for one, each in zip(found, voted, strict=True)
        for call, code, _ in each
    ]
    values = iter(returned_asserts(items, runner))
    made = [[(next(values), confidence) for _, _, confidence in each] for each in voted]
    return [[Case(test, (), "differential", share) for test, share in each if test is not None] for each in made]
