"""Pairs of responses that a judge is to compare: those of a contest, and those by which the judge itself is checked."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from random import Random
from typing import NamedTuple

from ..schema import Problem, Ranking, Response
from .protocol import Contest, contests, shown_groups
from .schedule import schedule

Shown = Callable[[Response], str | None]
"""What a judge sees of a response; None: nothing."""


class Duel(NamedTuple):
    """Two responses to one problem, as they are shown."""

    problem: Problem
    first: str
    """Id of the one."""
    first_text: str
    second: str
    """Id of the other."""
    second_text: str


def contest_duels(contest: Contest, texts: Sequence[str | None], seed: int) -> list[Duel]:
    """Who meets whom in a contest: of equal texts only the first, of those without a text none."""
    by_id = {response.id: text for response, text in zip(contest.responses, texts, strict=True) if text is not None}
    firsts = [group[0] for group in shown_groups(contest, texts)]
    return [
        Duel(contest.problem, firsts[one], by_id[firsts[one]], firsts[other], by_id[firsts[other]])
        for one, other in schedule(len(firsts), f"{seed}|{contest.problem.id}")
    ]


def audit_duels(
    problems: Iterable[Problem],
    responses: Sequence[Response],
    rankings: Iterable[Ranking],
    shown: Shown,
    most: int,
    seed: int,
) -> list[Duel]:
    """Pairs of two tiers of a ranking, the better response first: one a problem, drawn by the seed.

    Raises:
        DataError: as `contests`.
    """
    level = {one.problem_id: one for one in rankings if len(one.tiers) > 1}
    index = {contest.problem.id: contest for contest in contests(problems, responses)}
    ids = sorted(level.keys() & index.keys())
    Random(f"audit|{seed}").shuffle(ids)
    drawn = (_drawn(level[problem_id], index[problem_id], shown, seed) for problem_id in ids)
    return list(islice(filter(None, drawn), most))


def _drawn(ranking: Ranking, contest: Contest, shown: Shown, seed: int) -> Duel | None:
    random = Random(f"audit|{seed}|{ranking.problem_id}")
    high, low = sorted(random.sample(range(len(ranking.tiers)), 2))
    first, second = random.choice(ranking.tiers[high]), random.choice(ranking.tiers[low])
    by_id = {response.id: response for response in contest.responses}
    if first not in by_id or second not in by_id:
        return None
    one, other = shown(by_id[first]), shown(by_id[second])
    return None if one is None or other is None else Duel(contest.problem, first, one, second, other)
