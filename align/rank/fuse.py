"""Order the responses of each problem. Execution decides; other rankers order only what it leaves equal.

Ties are explicit. No training rows are made here. A response's score is that of its execution level, plus at most a
band above it: wherever other rankers put a response, it stays below the next level.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from ..errors import ConfigError, DataError, suggest
from ..schema import Problem, Ranking, Response, Verdict
from .protocol import Contest, Pair, Ranker, Scores, answered, contests, pair
from .unit_tests import PASSED, ScoreScale, index_problems, problem_of, score

BAND = 0.25
"""Width of a level's band, in levels."""
DIGITS = 9
"""Of weighted shares: what differs by less is a tie that rounding hides."""


@dataclass(frozen=True)
class Fused:
    """Rankings, and what they do not say by themselves."""

    rankings: list[Ranking]
    levels: dict[str, float]
    """Response id → score by execution alone; empty where nothing was run."""
    undecided: frozenset[Pair] = frozenset()
    """Pairs that the rankers do not order, or order the other way round, though their scores differ: no preference."""


def rank_responses(
    problems: Iterable[Problem],
    responses: Sequence[Response],
    verdicts: Iterable[Verdict],
    *,
    score_scale: ScoreScale = "unit",
    teacher_tie_bonus: float = 0.0,
    rankers: Sequence[Ranker] = (),
    weights: Mapping[str, float] | None = None,
) -> list[Ranking]:
    """One Ranking a problem that has a judged response, in the order of the responses; arguments and errors: `fuse`."""
    return fuse(
        problems,
        responses,
        verdicts,
        rankers,
        weights=weights,
        score_scale=score_scale,
        teacher_tie_bonus=teacher_tie_bonus,
    ).rankings


def fuse(
    problems: Iterable[Problem],
    responses: Sequence[Response],
    verdicts: Iterable[Verdict] | None,
    rankers: Sequence[Ranker] = (),
    *,
    weights: Mapping[str, float] | None = None,
    score_scale: ScoreScale = "unit",
    teacher_tie_bonus: float = 0.0,
    band: float = BAND,
    unasked: Collection[str] = (),
) -> Fused:
    """Rank by execution, then by the rankers within what it leaves equal.

    A response whose verdict is no fault of its own (`unsupported`, `test_error`, `infra_error`) is not ranked. Within a
    level, a response's place is the weighted share of the others that each ranker puts it above. A ranker that has no
    score for one of a level's responses has no say in that level.

    Args:
        problems: the problems, in any order.
        responses: the responses to rank.
        verdicts: of all responses; None: nothing was run, and all responses to a problem are one level.
        rankers: what orders the responses of a level.
        weights: ranker's name → its weight; 1 by default.
        score_scale: `unit` (graded, in [0, 1]) or `paper` (the levels 0 to 3); places in [0, 1] where nothing was run.
        teacher_tie_bonus: added to a teacher's score, so that it stands above a student of the same score, as in
            PanGu-Coder2; at most half of the way to the next level. 0: ties carry no order.
        band: how far above its level the rankers may put a response, in levels, and as a share of the way to the next.
        unasked: ids of problems about which the rankers are not asked.

    Raises:
        DataError: a response has no verdict, or answers an unknown problem.
        ConfigError: a weight is of no ranker or below 0, or the band could reach the next level.
    """
    if not 0 < band < 0.5:
        raise ConfigError(f"band: {band} must lie between 0 and 0.5: a teacher's bonus has the other half of the way")
    shares = _weights(rankers, weights or {})
    given = list(problems)
    facts = None if verdicts is None else list(verdicts)
    levels = _levels(index_problems(given), responses, facts, score_scale)
    asked = [_ranking(one, found, ()) for one, found in levels.items() if one not in unasked]
    decided = _decide(contests(given, responses, asked, facts or ()), rankers, shares) if rankers else {}
    lift = _Lift(
        None if facts is None else score_scale,
        band,
        {response.id: teacher_tie_bonus for response in responses if teacher_tie_bonus and response.role == "teacher"},
    )
    names = [*(() if facts is None else ("unit_tests",)), *(ranker.name for ranker in rankers)]
    return Fused(
        [_ranking(one, lift.scores(found, decided.get(one, [])), names, decided) for one, found in levels.items()],
        {} if facts is None else {one: level for found in levels.values() for one, level in found.items()},
        frozenset(one for each in decided.values() for part in each for one in part.undecided),
    )


def tiers(scores: Mapping[str, float]) -> list[list[str]]:
    """Ids by falling score; equal scores share a tier."""
    levels: dict[float, list[str]] = defaultdict(list)
    for response_id, value in scores.items():
        levels[value].append(response_id)
    return [levels[value] for value in sorted(levels, reverse=True)]


@dataclass(frozen=True)
class _Part:
    """What the rankers make of one contest."""

    places: dict[str, float]
    """Response id → its place within the level, in [0, 1]; the last has 0."""
    undecided: list[Pair]
    ordered: int
    """Pairs for which two or more rankers name a winner."""
    agreed: int
    """Those of them for which all name the same one."""


@dataclass(frozen=True)
class _Lift:
    """How far above its level's score a response stands."""

    scale: ScoreScale | None
    band: float
    bonus: Mapping[str, float]

    def scores(self, levels: Mapping[str, float], parts: Sequence[_Part]) -> dict[str, float]:
        """Final scores of one problem's responses."""
        places = {one: place for part in parts for one, place in part.places.items()}
        steps = {level: self._steps(level, levels.values()) for level in levels.values()}
        return {
            one: level + places.get(one, 0.0) * steps[level][0] + min(self.bonus.get(one, 0.0), steps[level][1])
            for one, level in levels.items()
        }

    def _steps(self, level: float, levels: Iterable[float]) -> tuple[float, float]:
        """How much the best place of a level adds, and at most a bonus: together less than the way to the next."""
        if self.scale is None:
            return 1.0, math.inf
        unit = 1.0 if self.scale == "paper" else PASSED
        # a level that no response has is not reached either: what passes is told by its score
        above = [one for one in (*levels, *(anchor / unit for anchor in (1.0, 2.0, PASSED))) if one > level]
        way = min(above, default=math.inf) - level
        return self.band * min(1 / unit, way), way / 2


def _levels(
    index: Mapping[str, Problem], responses: Sequence[Response], verdicts: Sequence[Verdict] | None, scale: ScoreScale
) -> dict[str, dict[str, float]]:
    """Problem id → response id → score by execution; 0 where nothing was run."""
    by_response = {verdict.response_id: verdict for verdict in verdicts or ()}
    levels: dict[str, dict[str, float]] = defaultdict(dict)
    for response in responses:
        if verdicts is None:
            levels[answered(response, index).id][response.id] = 0.0
            continue
        problem = problem_of(response, index)
        if response.id not in by_response:
            raise DataError(f"response {response.id} has no verdict: judge it first")
        found = score(by_response[response.id], scale)
        if found is not None:
            levels[problem.id][response.id] = found
    return levels


def _decide(held: Sequence[Contest], rankers: Sequence[Ranker], weights: Sequence[float]) -> dict[str, list[_Part]]:
    """Problem id → what the rankers make of its levels."""
    said = [list(ranker.rank(held)) for ranker in rankers]
    found: dict[str, list[_Part]] = defaultdict(list)
    for number, contest in enumerate(held):
        found[contest.problem.id].append(_part(contest, [scores[number] for scores in said], weights))
    return found


def _part(contest: Contest, said: Sequence[Scores], weights: Sequence[float]) -> _Part:
    ids = [response.id for response in contest.responses]
    heard = [
        (scores, weight)
        for scores, weight in zip(said, weights, strict=True)
        if all(one in scores.values for one in ids)
    ]
    points: dict[str, float] = dict.fromkeys(ids, 0.0)
    votes: dict[tuple[str, str], float] = {}
    ordered = agreed = 0
    for first, second in combinations(ids, 2):
        signs = [_sign(scores, first, second) for scores, _ in heard]
        votes[first, second] = sum(sign * weight for sign, (_, weight) in zip(signs, heard, strict=True))
        points[first] += votes[first, second]
        points[second] -= votes[first, second]
        winners = [sign for sign in signs if sign]
        ordered += len(winners) > 1
        agreed += len(winners) > 1 and len(set(winners)) == 1
    # everybody meets everybody: from −total to +total becomes from 0 to 1
    total = 2 * (sum(weight for _, weight in heard) or 1.0) * (len(ids) - 1)
    last = min(points.values())
    places = {one: round((value - last) / total, DIGITS) for one, value in points.items()}
    undecided = [
        pair(*two)
        for two, vote in votes.items()
        if places[two[0]] != places[two[1]] and vote * (places[two[0]] - places[two[1]]) <= 0
    ]
    return _Part(places, undecided, ordered, agreed)


def _sign(scores: Scores, first: str, second: str) -> int:
    """1 where the ranker puts the first above the second, −1 where below, 0 where it does not say."""
    gap = scores.values[first] - scores.values[second]
    if gap == 0 or pair(first, second) in scores.undecided:
        return 0
    return 1 if gap > 0 else -1


def _ranking(
    problem_id: str,
    scores: dict[str, float],
    rankers: Sequence[str],
    decided: Mapping[str, Sequence[_Part]] | None = None,
) -> Ranking:
    parts = (decided or {}).get(problem_id, ())
    ordered, agreed = sum(part.ordered for part in parts), sum(part.agreed for part in parts)
    return Ranking(
        problem_id=problem_id,
        tiers=tiers(scores),
        scores=scores,
        rankers=list(rankers),
        agreement=round(agreed / ordered, 4) if ordered else None,
    )


def _weights(rankers: Sequence[Ranker], given: Mapping[str, float]) -> list[float]:
    names = [ranker.name for ranker in rankers]
    for name, weight in given.items():
        if name not in names:
            raise ConfigError(f"weights: no ranker {name!r}: {suggest(name, names)}")
        if weight < 0:
            raise ConfigError(f"weights: {name}: {weight} is below 0: a ranker cannot be turned round")
    return [given.get(name, 1.0) for name in names]
