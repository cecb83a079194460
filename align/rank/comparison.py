"""Two responses compared by a judge, and the figures that many comparisons have in common. Asks nobody."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True)
class Comparison:
    """One pair under one rubric. Votes and truth: 1 for the first response, −1 for the second, 0 for a tie."""

    problem_id: str
    first: str
    second: str
    votes: tuple[int | None, ...]
    """One vote an order, first as shown first, then the other way round; None: it could not be read. A single vote
    where two scores were compared."""
    lengths: tuple[int, int]
    """Characters of the two as they were shown."""
    truth: int | None = None
    """What execution says, where the pair was chosen to be checked."""
    rubric: str = ""
    """What they were compared by."""

    @property
    def is_read(self) -> bool:
        """Whether every order has a vote."""
        return None not in self.votes

    @property
    def outcome(self) -> int | None:
        """What the orders agree on; 0 where they disagree, None where one could not be read."""
        if not self.is_read:
            return None
        return self.votes[0] if len(set(self.votes)) == 1 else 0

    @property
    def is_flipped(self) -> bool:
        """Whether each order names another winner."""
        return set(self.votes) == {1, -1}


def wilson(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; (0, 1) of nothing."""
    if n == 0:
        return 0.0, 1.0
    share, spread = successes / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def length_correlation(comparisons: Iterable[Comparison]) -> float | None:
    """Correlation, over pairs in both orientations, of outcome and log ratio of the lengths; None without any.

    Between −1 and 1, so that it stays finite where the longer always wins; 0 for a judge to whom length is nothing.
    """
    points = [
        (math.log(max(one.lengths[0], 1) / max(one.lengths[1], 1)), one.outcome) for one in comparisons if one.outcome
    ]
    scale = math.sqrt(sum(x * x for x, _ in points) * len(points))
    # the outcomes are 1 and −1, so that their squares sum to the count
    return sum(x * y for x, y in points) / scale if scale else None


def cyclic_triples(comparisons: Sequence[Comparison]) -> tuple[int, int]:
    """(triples whose three pairs are decided, those of them that go in a circle), within each problem and rubric."""
    better: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for one in comparisons:
        if one.outcome:
            winner, loser = (one.first, one.second) if one.outcome > 0 else (one.second, one.first)
            better.setdefault((one.problem_id, one.rubric), set()).add((winner, loser))
    triples = cycles = 0
    for edges in better.values():
        for a, b, c in combinations(sorted({one for edge in edges for one in edge}), 3):
            wins = [sum((one, other) in edges for other in (a, b, c) if other != one) for one in (a, b, c)]
            if sum(wins) == 3:
                triples += 1
                cycles += wins == [1, 1, 1]
    return triples, cycles
