"""Which problems each model solves: what was fixed and broken against the first model, and what the sets share.

A problem is solved by a model if more than half of its samples pass; with one sample, if it passes.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from ..score.compare import Answer

EXAMPLES = 10
"""Problems of each sort that are shown with both programs."""

Samples = dict[str, dict[str, list[Answer]]]
"""Model → problem → samples."""


@dataclass(frozen=True)
class Example:
    """One problem on which two models differ, with a sample of each that shows it."""

    problem_id: str
    before: Answer
    after: Answer


@dataclass(frozen=True)
class Change:
    """A model against the first one."""

    model: str
    fixed: int
    broken: int
    fixed_examples: list[Example]
    broken_examples: list[Example]


@dataclass(frozen=True)
class Solved:
    """Sets of solved problems, compared."""

    problems: int
    by: dict[str, frozenset[str]]
    """Model → problems it solves."""
    changes: list[Change] = field(default_factory=list)

    @property
    def by_any(self) -> int:
        """Number of problems that at least one model solves."""
        return len(frozenset().union(*self.by.values()))

    @property
    def shown(self) -> set[str]:
        """Ids of the problems that appear as examples."""
        examples = (example for change in self.changes for example in change.fixed_examples + change.broken_examples)
        return {example.problem_id for example in examples}

    def both(self, one: str, other: str) -> int:
        """Number of problems that both models solve."""
        return len(self.by[one] & self.by[other])


def solved(models: Sequence[str], answers: Iterable[Answer]) -> Solved:
    """Compare models on the same problems; the first is what the others are measured against."""
    samples: Samples = {model: defaultdict(list) for model in models}
    for answer in answers:
        samples[answer.model][answer.problem_id].append(answer)
    by = {model: frozenset(problem for problem, rows in samples[model].items() if _solves(rows)) for model in models}
    changes = [_change(samples, by, models[0], model) for model in models[1:]]
    return Solved(len(samples[models[0]]), by, changes)


def _solves(rows: list[Answer]) -> bool:
    return 2 * sum(row.passed for row in rows) > len(rows)


def _change(samples: Samples, by: dict[str, frozenset[str]], first: str, model: str) -> Change:
    fixed, broken = by[model] - by[first], by[first] - by[model]

    def examples(problems: frozenset[str], *, passed: bool) -> list[Example]:
        # in the order of the problems' file, the same on every page
        chosen = islice((problem for problem in samples[first] if problem in problems), EXAMPLES)
        return [
            Example(problem, _sample(samples[first][problem], not passed), _sample(samples[model][problem], passed))
            for problem in chosen
        ]

    return Change(model, len(fixed), len(broken), examples(fixed, passed=True), examples(broken, passed=False))


def _sample(rows: list[Answer], passed: bool) -> Answer:
    """The first sample with this verdict: there is one, as the two models differ."""
    return next(row for row in rows if row.passed is passed)
