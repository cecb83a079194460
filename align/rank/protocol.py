"""What every ranker is: contests in, scores out. Orders nothing by itself, and makes no rows for training.

A contest is a set of responses to one problem that stand equal so far: all of them, or one level of an earlier
ranking. A ranker orders the responses of a contest among themselves and never sees another level, so that it cannot
change one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import DataError
from ..schema import Problem, Ranking, Response, Verdict
from .unit_tests import index_problems

Pair = tuple[str, str]
"""Two response ids, the smaller first."""


@dataclass(frozen=True)
class Contest:
    """Responses to one problem that a ranker may order among themselves."""

    problem: Problem
    responses: tuple[Response, ...]
    passed: bool | None = None
    """Whether all of them pass their tests; None where nobody ran them."""


@dataclass(frozen=True)
class Scores:
    """What a ranker found in one contest."""

    problem_id: str
    values: dict[str, float]
    """Response id → score, higher is better; equal scores are a tie, a response without one is not ranked."""
    undecided: frozenset[Pair] = frozenset()
    """Pairs that carry no order whatever the values say: compared and found equal, or found the other way round."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Whatever else is worth telling about this contest."""


class Ranker(Protocol):
    """Anything that orders responses."""

    name: str
    """Its name in `Ranking.rankers`."""

    def rank(self, contests: Iterable[Contest]) -> Iterator[Scores]:
        """One `Scores` a contest, in their order."""
        ...

    def report(self) -> dict[str, Any]:
        """What it did so far, as plain data."""
        ...


def contests(
    problems: Iterable[Problem],
    responses: Sequence[Response],
    rankings: Iterable[Ranking] | None = None,
    verdicts: Iterable[Verdict] = (),
) -> list[Contest]:
    """Where a ranker may decide: each problem's responses, or with `rankings` each tier; one response is no contest.

    Args:
        problems: the problems, in any order.
        responses: the responses to rank.
        rankings: what earlier rankers found; the contests are its tiers.
        verdicts: tell whether a contest's responses pass.

    Raises:
        DataError: a response answers a problem that is not there, or a ranking names a response that is not.
    """
    index = index_problems(problems)
    by_id = {response.id: response for response in responses}
    passed = {verdict.response_id: verdict.passed for verdict in verdicts}
    by_problem: dict[str, list[Response]] = {}
    for response in responses:
        by_problem.setdefault(answered(response, index).id, []).append(response)
    if rankings is None:
        levels = [(index[problem_id], level) for problem_id, level in by_problem.items()]
    else:
        levels = [level for ranking in rankings for level in _tiers(ranking, index, by_id)]
    return [Contest(problem, tuple(level), _all_pass(level, passed)) for problem, level in levels if len(level) > 1]


def answered(response: Response, index: Mapping[str, Problem]) -> Problem:
    """The problem that a response answers, with tests or without.

    Raises:
        DataError: it is not there.
    """
    problem = index.get(response.problem_id)
    if problem is None:
        raise DataError(
            f"response {response.id} answers problem {response.problem_id!r}, which is not in the problems: "
            "add the problem, or remove the response"
        )
    return problem


def pair(first: str, second: str) -> Pair:
    """Two ids as a `Pair`."""
    return (first, second) if first < second else (second, first)


def dense(keys: Mapping[str, Any]) -> dict[str, float]:
    """Scores in [0, 1] from keys that sort: the best key 1, the worst 0, equal keys equal scores."""
    order = sorted(set(keys.values()))
    top = max(len(order) - 1, 1)
    place = {key: index / top for index, key in enumerate(order)}
    return {response_id: place[key] for response_id, key in keys.items()}


def with_margin(values: Mapping[str, float], margin: float) -> tuple[dict[str, float], frozenset[Pair]]:
    """Scores of which only differences of at least `margin` count.

    From the best one down, whatever stands less than the margin below the first of a tier joins it, at the tier's
    mean. Pairs of two tiers that are closer than the margin are undecided.
    """
    ordered = sorted(values, key=lambda response_id: -values[response_id])
    tiers: list[list[str]] = []
    for response_id in ordered:
        if tiers and (
            values[tiers[-1][0]] == values[response_id] or values[tiers[-1][0]] - values[response_id] < margin
        ):
            tiers[-1].append(response_id)
        else:
            tiers.append([response_id])
    merged = {one: sum(values[other] for other in tier) / len(tier) for tier in tiers for one in tier}
    close = {
        pair(first, second)
        for place, first in enumerate(ordered)
        for second in ordered[place + 1 :]
        if merged[first] != merged[second] and values[first] - values[second] < margin
    }
    return merged, frozenset(close)


def shown_groups(contest: Contest, texts: Sequence[str | None]) -> list[list[str]]:
    """Ids of the contest's responses with equal texts together, in order; those without a text are left out."""
    groups: dict[str, list[str]] = {}
    for response, text in zip(contest.responses, texts, strict=True):
        if text is not None:
            groups.setdefault(text, []).append(response.id)
    return list(groups.values())


def _tiers(
    ranking: Ranking, index: Mapping[str, Problem], by_id: Mapping[str, Response]
) -> Iterator[tuple[Problem, list[Response]]]:
    if ranking.problem_id not in index:
        raise DataError(f"a ranking is of problem {ranking.problem_id!r}, which is not here: it is of another set")
    for tier in ranking.tiers:
        for response_id in tier:
            if response_id not in by_id:
                raise DataError(
                    f"the ranking of problem {ranking.problem_id!r} names response {response_id!r}, which is not among "
                    "the responses: it is of other responses"
                )
        yield index[ranking.problem_id], [by_id[response_id] for response_id in tier]


def _all_pass(level: Sequence[Response], passed: Mapping[str, bool]) -> bool | None:
    known = [passed.get(response.id) for response in level]
    return None if None in known else all(known)
