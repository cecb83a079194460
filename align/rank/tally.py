"""From what a judge said of one contest to scores: Bradley–Terry over its comparisons, or scores with a margin."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations

from .bradley_terry import bradley_terry, win_chance
from .comparison import Comparison
from .judgement import HIGHEST, LOWEST
from .protocol import Contest, Pair, Scores, pair, shown_groups, with_margin

DIGITS = 6
"""Of scores: what differs by less is a tie that rounding hides."""


def by_comparisons(contest: Contest, texts: Sequence[str | None], comparisons: Sequence[Comparison]) -> Scores:
    """Scores in [0, 1]: the chance to beat an average response of the contest, by Bradley and Terry.

    Responses that no chain of readable comparisons joins to most of the others have none.

    Args:
        contest: who was compared.
        texts: the text of each as it was shown; equal texts share everything, None was not shown.
        comparisons: of the first of each group of equal texts.
    """
    groups = shown_groups(contest, texts)
    place = {group[0]: index for index, group in enumerate(groups)}
    margins: dict[tuple[int, int], float] = defaultdict(float)
    wins: dict[tuple[int, int], float] = defaultdict(float)
    for one in comparisons:
        if (outcome := one.outcome) is not None:
            first, second = place[one.first], place[one.second]
            wins[first, second] += (1 + outcome) / 2
            wins[second, first] += (1 - outcome) / 2
            margins[first, second] += outcome
    joined = largest_part(len(groups), margins)
    theta = bradley_terry(len(groups), wins)
    chances = {index: round(win_chance(theta[index]), DIGITS) for index in joined}
    values = {member: chances[index] for index in joined for member in groups[index]}
    undecided: set[Pair] = set()
    for (first, second), margin in margins.items():
        if first in chances and second in chances and margin * (chances[first] - chances[second]) <= 0:
            undecided.update(pair(one, other) for one in groups[first] for other in groups[second])
    return Scores(contest.problem.id, values, frozenset(undecided), {"compared": len(margins)})


def by_grades(
    contest: Contest, texts: Sequence[str | None], grades: Sequence[Sequence[int] | None], margin: float
) -> Scores:
    """Scores in [0, 1] from 1 to 10; what is less than the margin apart is a tie.

    Args:
        contest: who was scored.
        texts: the text of each as it was shown; equal texts share everything, None was not shown.
        grades: for each group of equal texts one score a rubric; None where one could not be read.
        margin: in points, of the mean over the rubrics.
    """
    groups = shown_groups(contest, texts)
    means = {
        member: sum(given) / len(given)
        for group, given in zip(groups, grades, strict=True)
        if given is not None
        for member in group
    }
    merged, undecided = with_margin(means, margin)
    values = {one: round((mean - LOWEST) / (HIGHEST - LOWEST), DIGITS) for one, mean in merged.items()}
    return Scores(contest.problem.id, values, undecided, {"means": means})


def scored_pairs(
    problem_id: str, graded: Sequence[tuple[str, int, float]], margin: float, rubric: str = ""
) -> list[Comparison]:
    """Every pair of (id, length, score) as a comparison with one vote, for the report."""
    return [
        Comparison(problem_id, one, other, (vote(mine, theirs, margin),), (length, other_length), rubric=rubric)
        for (one, length, mine), (other, other_length, theirs) in combinations(graded, 2)
    ]


def vote(mine: float, theirs: float, margin: float) -> int:
    """1, −1, or 0 where the scores are less than the margin apart."""
    gap = mine - theirs
    return 0 if gap == 0 or abs(gap) < margin else 1 if gap > 0 else -1


def largest_part(n: int, compared: Iterable[tuple[int, int]]) -> list[int]:
    """The largest set of players that comparisons join; the first of equal ones; nobody where nothing was read."""
    parts = {index: {index} for index in range(n)}
    for first, second in compared:
        if parts[first] is not parts[second]:
            parts[first] |= parts[second]
            for member in parts[second]:
                parts[member] = parts[first]
    largest = max(parts.values(), key=lambda part: (len(part), -min(part)), default=set())
    # one text needs no comparison; one of several that were never compared has no place
    return sorted(largest) if len(largest) > 1 or n == 1 else []
