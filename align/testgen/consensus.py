"""Rank the programs of a problem by their agreement with each other and with generated cases. Runs nothing.

CodeT's dual execution agreement (Chen et al. 2022, arXiv 2207.10397): programs that hold on exactly the same cases form
a group; the best group has many programs and many cases. All functions are pure, on an `OutcomeMatrix` cut down to
what may vote. Whether a group is right is not known here: see `calibrate`. Rules made for few samples: `agreement`.
"""

import ast
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import sqrt
from typing import Literal

from ..execute.sandbox.matrix import DIGEST
from .matrix import OutcomeMatrix

Rule = Literal["codet", "distinct"]
HOLDS = "1"
"""Letter of a case that a program passes."""


@dataclass(frozen=True)
class Group:
    """Programs that hold on exactly the same cases."""

    programs: tuple[int, ...]
    """Rows of the matrix."""
    cases: tuple[int, ...]
    """Columns on which they hold."""
    score: float


@dataclass(frozen=True)
class Consensus:
    """What a rule makes of one matrix."""

    scores: tuple[float, ...]
    """Of each program: its group's; 0 where it holds on no case. Ranks within a problem only."""
    groups: tuple[Group, ...]
    """Best first; programs that hold on nothing are in none."""

    @property
    def best(self) -> tuple[int, ...]:
        """Programs of the best groups, several where they tie; empty where nothing is known."""
        return top(self.scores)


def consensus(matrix: OutcomeMatrix, rule: Rule = "distinct") -> Consensus:
    """Group and score the programs of a matrix.

    Args:
        matrix: outcomes with their counts.
        rule: `codet`: cases held, counted with their frequency, times the square root of the group's size, counted
            with frequency. `distinct`: the same with equal cases and programs of one syntax tree counted once.
    """
    by_cases: dict[tuple[int, ...], list[int]] = {}
    for row, outcomes in enumerate(matrix.outcomes):
        if held := tuple(place for place, letter in enumerate(outcomes) if letter == HOLDS):
            by_cases.setdefault(held, []).append(row)
    groups = [Group(tuple(rows), held, _score(matrix, rows, held, rule)) for held, rows in by_cases.items()]
    groups.sort(key=lambda group: (-group.score, group.programs))
    scores = [0.0] * len(matrix.programs)
    for group in groups:
        for row in group.programs:
            scores[row] = group.score
    return Consensus(tuple(scores), tuple(groups))


def top(scores: Sequence[float]) -> tuple[int, ...]:
    """Rows of the highest score, several where they tie; none where no score is above 0."""
    best = max(scores, default=0.0)
    # equal scores that are computed in another way, 3·√2 and √18, differ in the last digits
    return tuple(row for row, score in enumerate(scores) if score > 0 and score >= best * (1 - 1e-12))


def _score(matrix: OutcomeMatrix, rows: Sequence[int], held: Sequence[int], rule: Rule) -> float:
    if rule == "codet":
        return sum(matrix.case_counts[place] for place in held) * sqrt(sum(matrix.program_counts[row] for row in rows))
    return len(held) * sqrt(len({normal_form(matrix.programs[row]) for row in rows}))


def expected(matrix: OutcomeMatrix, chosen: Sequence[int], right: Sequence[float]) -> float:
    """Chance that an answer drawn from the chosen programs, in proportion to their frequency, is right.

    Args:
        matrix: gives the frequencies.
        chosen: rows; where there are none the draw is from all programs.
        right: for each program, the share of its samples that is right: 0 or 1 where the tests are the truth.
    """
    rows = chosen or range(len(matrix.programs))
    total = sum(matrix.program_counts[row] for row in rows)
    return sum(matrix.program_counts[row] * right[row] for row in rows) / total if total else 0.0


def with_cases(matrix: OutcomeMatrix, counts: Mapping[str, int]) -> OutcomeMatrix:
    """The matrix of some of its cases, counted as given."""
    kept = [place for place, case in enumerate(matrix.cases) if counts.get(case, 0) > 0]
    return replace(
        matrix,
        cases=tuple(matrix.cases[place] for place in kept),
        case_counts=tuple(counts[matrix.cases[place]] for place in kept),
        outcomes=tuple("".join(outcomes[place] for place in kept) for outcomes in matrix.outcomes),
        returned=tuple("".join(row[DIGEST * place :][:DIGEST] for place in kept) for row in matrix.returned),
    )


def with_programs(matrix: OutcomeMatrix, counts: Mapping[str, int]) -> OutcomeMatrix:
    """The matrix of some of its programs, counted as given."""
    kept = [row for row, source in enumerate(matrix.programs) if counts.get(source, 0) > 0]
    return replace(
        matrix,
        programs=tuple(matrix.programs[row] for row in kept),
        program_counts=tuple(counts[matrix.programs[row]] for row in kept),
        outcomes=tuple(matrix.outcomes[row] for row in kept),
        returned=tuple(matrix.returned[row] for row in kept) if matrix.returned else (),
    )


@lru_cache(maxsize=1 << 16)
def normal_form(source: str) -> str:
    """A program's syntax tree as text: without comments, layout and docstrings.

    A source that does not parse is its own form.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
                _drop_docstring(node)
        return ast.dump(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return source


def _drop_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module) -> None:
    match node.body[:1]:
        case [ast.Expr(value=ast.Constant(value=str()))]:
            node.body = node.body[1:]
