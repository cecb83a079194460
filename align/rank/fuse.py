"""Order the responses of each problem. Execution decides; ties are explicit. No training rows are made here."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from ..errors import DataError
from ..schema import Problem, Ranking, Response, Verdict
from .unit_tests import ScoreScale, index_problems, problem_of, score


def rank_responses(
    problems: Iterable[Problem],
    responses: Sequence[Response],
    verdicts: Iterable[Verdict],
    *,
    score_scale: ScoreScale = "unit",
    teacher_tie_bonus: float = 0.0,
) -> list[Ranking]:
    """One Ranking a problem that has a judged response, in the order of the responses.

    A response whose verdict is no fault of its own (`unsupported`, `test_error`, `infra_error`) is not ranked.

    Args:
        score_scale: `unit` (graded, in [0, 1]) or `paper` (the levels 0 to 3).
        teacher_tie_bonus: added to a teacher's score, so that it stands above a student of the same score, as in
            PanGu-Coder2; 0: ties carry no order.

    Raises:
        DataError: a response has no verdict, or answers an unknown problem.
    """
    index = index_problems(problems)
    by_response = {verdict.response_id: verdict for verdict in verdicts}
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    for response in responses:
        problem = problem_of(response, index)
        if response.id not in by_response:
            raise DataError(f"response {response.id} has no verdict: judge it first")
        found = score(by_response[response.id], score_scale)
        if found is not None:
            scores[problem.id][response.id] = found + teacher_tie_bonus * (response.role == "teacher")
    return [
        Ranking(problem_id=problem_id, tiers=tiers(ranked), scores=ranked, rankers=["unit_tests"])
        for problem_id, ranked in scores.items()
    ]


def tiers(scores: dict[str, float]) -> list[list[str]]:
    """Ids by falling score; equal scores share a tier."""
    levels: dict[float, list[str]] = defaultdict(list)
    for response_id, value in scores.items():
        levels[value].append(response_id)
    return [levels[value] for value in sorted(levels, reverse=True)]
