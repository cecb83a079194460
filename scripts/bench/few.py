"""Rules that choose one of few samples: the best of some on one half of the problems, measured on the other.

A draw takes n of a problem's 100 samples, without replacement, and the tests of the generations with the same numbers
(`own`, as in CodeT's figures at n) or of all generations (`all`). What is drawn depends on the seed, n and the
problem alone, so that all rules meet the same draws.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from codet import Setting, cases

from align.testgen.agreement import Agreement, agreement
from align.testgen.consensus import consensus, expected, top, with_cases, with_programs
from align.testgen.matrix import OutcomeMatrix

SIZES = (4, 8, 16)
Protocol = Literal["own", "all"]
Rule = Callable[[OutcomeMatrix], Sequence[int]]
RESAMPLES = 2000


def _near(**fields: float) -> Rule:
    rule = Agreement(**fields)
    return lambda matrix: top(agreement(matrix, rule))


RULES: dict[str, Rule] = {
    "random": lambda matrix: (),
    "codet": lambda matrix: consensus(matrix, "codet").best,
    "distinct": lambda matrix: consensus(matrix, "distinct").best,
    "passes alone": _near(mix=1.0),
    "returns alone": _near(mix=0.0),
    "both, 2 and 8": _near(returns=2.0, passes=8.0),
    "both, 4 and 16": _near(),
    "both, 1 and 4": _near(returns=1.0, passes=4.0),
}
"""What is compared; the three last are variants of `align.testgen.agreement`."""
BASE = "codet"


@dataclass(frozen=True)
class Problem:
    """What draws are taken from."""

    setting: Setting
    matrix: OutcomeMatrix
    right: Mapping[str, bool]
    """Whether a program passes the problem's own tests."""


def scores(problem: Problem, size: int, protocol: Protocol, rules: Sequence[str], draws: int, seed: int) -> list[float]:
    """For each rule the expected share of right answers, over draws."""
    totals = [0.0] * len(rules)
    for matrix in drawn(problem, size, protocol, draws, seed):
        right = [float(problem.right[source]) for source in matrix.programs]
        for place, name in enumerate(rules):
            totals[place] += expected(matrix, RULES[name](matrix), right)
    return [total / draws for total in totals]


def drawn(problem: Problem, size: int, protocol: Protocol, draws: int, seed: int) -> Iterator[OutcomeMatrix]:
    """The matrices of draws."""
    chance = random.Random(f"{seed} {size} {problem.matrix.problem_id}")
    every = cases(problem.setting)
    for _ in range(draws):
        chosen = sorted(chance.sample(range(len(problem.setting.solutions)), size))
        programs = Counter(problem.setting.solutions[number] for number in chosen)
        own = Counter(test for number in chosen for test in problem.setting.tests[number])
        yield with_cases(with_programs(problem.matrix, programs), own if protocol == "own" else every)


@dataclass(frozen=True)
class Measured:
    """A rule beside CodeT's on problems that it was not chosen on, in percent."""

    rule: str
    size: int
    value: float
    base: float
    gain: tuple[float, float, float]
    """Over CodeT's rule, with a bootstrap interval of 95 % over problems."""


def chosen_and_measured(table: Mapping[int, Mapping[str, Sequence[float]]], choose: int) -> list[Measured]:
    """Choose a rule on the problems whose place is `choose` modulo 2, by the mean over sizes; measure on the others.

    Args:
        table: size → rule → a value a problem.
        choose: 0 for even places, 1 for odd ones.
    """
    candidates = [name for name in next(iter(table.values())) if name != "random"]
    best = max(candidates, key=lambda name: sum(sum(rules[name][choose::2]) for rules in table.values()))
    return [
        compared(best, size, rules[best][1 - choose :: 2], rules[BASE][1 - choose :: 2])
        for size, rules in table.items()
    ]


def compared(rule: str, size: int, values: Sequence[float], base: Sequence[float]) -> Measured:
    """A rule beside CodeT's, problem by problem."""
    gains = [value - other for value, other in zip(values, base, strict=True)]
    chance = random.Random(f"{rule} {size}")
    means = sorted(100 * mean(chance.choices(gains, k=len(gains))) for _ in range(RESAMPLES))
    low, high = means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES)]
    return Measured(rule, size, 100 * mean(values), 100 * mean(base), (100 * mean(gains), low, high))


def mean(values: Sequence[float]) -> float:
    """Of at least one value."""
    return sum(values) / len(values)
