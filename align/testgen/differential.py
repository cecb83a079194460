"""Differential cases: calls without an expected value, on which programs differ, and the value that most agree on.

Every model has the same weight, however many programs it gave, and its programs of one syntax tree count once. A value
needs a clear majority, from two models at least: one alone decides nothing. Programs vote that pass the most examples
of the problem's text. The value is what is agreed, not what is true: see `calibrate`. Runs nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ..execute.sandbox.matrix import DIGEST, NOT_RUN, NOTHING
from .consensus import normal_form
from .matrix import OutcomeMatrix

MAJORITY = 2 / 3
"""Share of the votes that a value needs."""
MOST = 5
"""Differential cases of a problem."""


@dataclass(frozen=True)
class Vote:
    """What is agreed of one call."""

    place: int
    """The call's column."""
    confidence: float
    """Share of the votes for the value."""
    agreeing: tuple[int, ...]
    """Rows of the programs that return it, of all programs."""
    dissenting: frozenset[int]
    """Rows of those that load and do not."""


def votes(
    matrix: OutcomeMatrix, weights: Sequence[float], models: Mapping[str, Collection[str]], least_models: int = 2
) -> list[Vote]:
    """The calls on which programs differ and a clear majority agrees, in their order.

    Args:
        matrix: a case a call, with digests of what is returned.
        weights: of each program's vote; 0: it has none.
        models: model → its programs.
        least_models: that must agree.
    """
    loaded = [row for row, outcomes in enumerate(matrix.outcomes) if set(outcomes) - {NOT_RUN}]
    voting = [row for row in loaded if weights[row] > 0]
    voters = [_distinct(matrix, [row for row in voting if matrix.programs[row] in own]) for own in models.values()]
    found = []
    for place in range(len(matrix.cases)):
        returned = {row: matrix.returned[row][DIGEST * place :][:DIGEST] for row in loaded}
        shares = [_shares(rows, returned, weights) for rows in voters if rows]
        values = {value for share in shares for value in share} - {NOTHING}
        support = {value: sum(share.get(value, 0.0) for share in shares) / len(shares) for value in values}
        agreed = max(support, key=lambda value: (support[value], value), default=NOTHING)
        dissenting = frozenset(row for row in loaded if returned[row] != agreed)
        # sums of shares: 16 of 24 come to a little less than two thirds
        clear = support.get(agreed, 0.0) >= MAJORITY - 1e-9 and sum(agreed in share for share in shares) >= least_models
        if clear and dissenting:
            agreeing = tuple(row for row in loaded if row not in dissenting)
            found.append(Vote(place, support[agreed], agreeing, dissenting))
    return found


def _distinct(matrix: OutcomeMatrix, rows: Sequence[int]) -> list[int]:
    """One row of each syntax tree."""
    return list({normal_form(matrix.programs[row]): row for row in reversed(rows)}.values())


def _shares(rows: Sequence[int], returned: Mapping[int, str], weights: Sequence[float]) -> dict[str, float]:
    """The share of one model's votes that each value has."""
    found: dict[str, float] = {}
    total = sum(weights[row] for row in rows)
    for row in rows:
        found[returned[row]] = found.get(returned[row], 0.0) + weights[row] / total
    return found


def telling(found: Sequence[Vote], most: int = MOST) -> list[Vote]:
    """Votes for cases that tell programs apart: the surest first, of those that catch one that none before it did."""
    left, chosen = list(found), list[Vote]()
    caught: frozenset[int] = frozenset()
    while left and len(chosen) < most:
        best = max(left, key=lambda one: (bool(one.dissenting - caught), one.confidence, -one.place))
        left.remove(best)
        chosen.append(best)
        caught |= best.dissenting
    return chosen
