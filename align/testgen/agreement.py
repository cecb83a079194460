"""Rank programs by agreement where samples are few: by how near programs are to each other, not only by equal groups.

CodeT's rule counts exact groups; of four or eight programs hardly two pass the very same cases. Here every program
votes for every other, the more the nearer both are in what they pass and in what they return (as MBR-EXEC, Shi et al.
2022, arXiv 2204.11454, and AlphaCode's clusters take it), and the votes multiply the cases that a program passes.
Pure functions on an `OutcomeMatrix`; run nothing.
"""

import ast
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import eq

from ..execute.sandbox.matrix import DIGEST, NOT_RUN, NOTHING
from .consensus import HOLDS
from .matrix import OutcomeMatrix


@dataclass(frozen=True)
class Agreement:
    """How near programs vote for each other."""

    returns: float = 4.0
    """Power of the share of calls on which two programs return the same: the higher, the nearer they must be."""
    passes: float = 16.0
    """Power of the share of cases that both pass, or neither."""
    mix: float = 0.5
    """Weight of what is passed in the votes, from 0 to 1; the rest is that of what is returned."""
    prior: float = 0.5
    """Cases that each program has for nothing, so that votes count where nobody passes any."""


def agreement(matrix: OutcomeMatrix, rule: Agreement | None = None) -> tuple[float, ...]:
    """A score of each program: (cases passed + prior) · votes by returns^(1 - mix) · votes by passes^mix.

    Cases and votes count with their frequency. A program that does not load has 0. Without digests in the matrix the
    votes are by passes alone. Scores rank within a problem only.

    Args:
        matrix: outcomes with their counts.
        rule: `Agreement()` by default.
    """
    rule = rule or Agreement()
    loaded = [row for row, outcomes in enumerate(matrix.outcomes) if set(outcomes) - {NOT_RUN}]
    passes = [[letter == HOLDS for letter in matrix.outcomes[row]] for row in loaded]
    counts = [matrix.program_counts[row] for row in loaded]
    by_passes = _votes([_bits(row) for row in passes], counts, len(matrix.cases), rule.passes)
    returned = _returned(matrix, loaded) if matrix.returned else []
    scores = [0.0] * len(matrix.programs)
    by_returns = _votes_by_returns(returned, counts, rule.returns) if returned else [1.0] * len(loaded)
    mix = rule.mix if returned else 1.0
    for place, row in enumerate(loaded):
        held = sum(count for count, holds in zip(matrix.case_counts, passes[place], strict=True) if holds)
        votes: float = by_returns[place] ** (1 - mix) * by_passes[place] ** mix
        scores[row] = (held + rule.prior) * votes
    return tuple(scores)


def _bits(flags: Sequence[bool]) -> int:
    return int("0" + "".join("1" if flag else "0" for flag in flags), 2)


def _votes(bits: Sequence[int], counts: Sequence[int], width: int, power: float) -> list[float]:
    """For each program the sum over all, itself too, of the share of cases on which both do alike."""
    table = [(1 - differing / width) ** power for differing in range(width + 1)] if width else [1.0]
    pairs = list(zip(bits, counts, strict=True))
    return [sum(count * table[(own ^ other).bit_count()] for other, count in pairs) for own in bits]


def _votes_by_returns(rows: Sequence[Sequence[str]], counts: Sequence[int], power: float) -> list[float]:
    width = len(rows[0])
    table = [(same / width) ** power for same in range(width + 1)] if width else [1.0]
    # what returned nothing agrees with nothing, not even with itself
    others = [[digest if digest != NOTHING else "" for digest in row] for row in rows]
    found = []
    for row in rows:
        shares = (table[sum(map(eq, row, other))] for other in others)
        votes = sum(count * share for count, share in zip(counts, shares, strict=True))
        found.append(votes + 1e-9)
    return found


def _returned(matrix: OutcomeMatrix, rows: Sequence[int]) -> list[list[str]]:
    """What each program returned to every distinct call to which any of them returned something."""
    first: dict[str, int] = {}
    for place, case in enumerate(matrix.cases):
        first.setdefault(call_of(case), place)
    kept = [
        slice(DIGEST * place, DIGEST * (place + 1))
        for place in first.values()
        if any(not matrix.returned[row].startswith(NOTHING, DIGEST * place) for row in rows)
    ]
    return [[matrix.returned[row][part] for part in kept] for row in rows]


@lru_cache(maxsize=1 << 16)
def call_of(case: str) -> str:
    """The outermost call of an assert, as text; the case itself where it has none or does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(case.strip())
        calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
        return next((ast.dump(node) for node in calls), case)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return case
