"""Turn rankings into training rows: ranked groups, preference pairs, SFT rows. All text is final here."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..schema import PreferencePair, Problem, RankedGroup, Ranking, Response, SftRow, Verdict
from ..text.template import prompt_text
from .unit_tests import index_problems

Pairs = Literal["all", "teacher_student"]
SftTarget = Literal["best_passing", "teacher"]
MIN_PARTIAL_GAP = 0.4
"""Least difference in the share of passed asserts for a pair of which neither side passes."""


@dataclass(frozen=True)
class Groups:
    """Ranked groups, and how many problems were dropped by reason."""

    rows: list[RankedGroup] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Member:
    response: Response
    text: str
    score: float
    passed: bool

    @property
    def is_teacher(self) -> bool:
        return self.response.role == "teacher"


def make_groups(
    problems: Iterable[Problem],
    responses: Sequence[Response],
    rankings: Iterable[Ranking],
    verdicts: Iterable[Verdict],
    *,
    prompt_text: Callable[[Problem], str] = prompt_text,
    completion_text: Callable[[str], str] = str,
    sft_target: SftTarget = "best_passing",
    drop_teacher_below: bool = True,
    require_teacher_pass: bool = True,
) -> Groups:
    """RRTF / RRHF groups: the distinct responses of each problem with their scores, best first.

    Args:
        prompt_text: the final prompt of a problem; its own text by default.
        completion_text: the final text of a program; the program itself by default.
        sft_target: `best_passing`: every passing response of the best tier; `teacher`: the teacher's best.
        drop_teacher_below: drop a problem where the teacher's best stands below the students' best.
        require_teacher_pass: drop a problem where no teacher passes. Both touch only problems with a teacher.
    """
    index = index_problems(problems)
    by_id = {response.id: response for response in responses}
    passed = {verdict.response_id for verdict in verdicts if verdict.passed}
    rows, dropped = [], Counter[str]()
    for ranking in rankings:
        members = _members(ranking, by_id, passed, completion_text)
        reason = _reject(members, drop_teacher_below, require_teacher_pass)
        if reason:
            dropped[reason] += 1
            continue
        problem = index[ranking.problem_id]
        prompt = prompt_text(problem)
        rows.append(_row(problem.id, prompt, members, sft_target))
    return Groups(rows, dict(sorted(dropped.items())))


def make_pairs(
    groups: Iterable[RankedGroup], *, pairs: Pairs = "all", passing_score: float = 1.0
) -> list[PreferencePair]:
    """Every pair that a group's scores order clearly enough: the better side passes, or leads by 0.4 of the asserts.

    Args:
        pairs: `all`, or `teacher_student`: a teacher above a student only (PanGu-Coder2).
        passing_score: the score from which on a response passes every test.
    """
    found = []
    for group in groups:
        for better in range(len(group.responses)):
            for worse in range(len(group.responses)):
                if _is_pair(group, better, worse, pairs, passing_score):
                    found.append(
                        PreferencePair(
                            problem_id=group.problem_id,
                            prompt=group.prompt,
                            chosen=group.responses[better],
                            rejected=group.responses[worse],
                            score_chosen=group.scores[better],
                            score_rejected=group.scores[worse],
                        )
                    )
    return found


def make_sft_rows(groups: Iterable[RankedGroup]) -> list[SftRow]:
    """One row for every SFT target of every group."""
    return [
        SftRow(prompt=group.prompt, completion=group.responses[index])
        for group in groups
        for index in group.sft_targets or ()
    ]


def _members(
    ranking: Ranking, by_id: Mapping[str, Response], passed: set[str], completion_text: Callable[[str], str]
) -> list[_Member]:
    """The distinct final texts, best first; of equal texts the first stays, a teacher's before a student's."""
    ordered = [by_id[response_id] for tier in ranking.tiers for response_id in tier]
    ordered.sort(key=lambda response: (-ranking.scores[response.id], response.role != "teacher"))
    kept: dict[str, _Member] = {}
    for response in ordered:
        # an answer cut by the length limit has no end to learn from
        if response.code is not None and response.finish == "stop":
            text = completion_text(response.code)
            kept.setdefault(text, _Member(response, text, ranking.scores[response.id], response.id in passed))
    return list(kept.values())


def _reject(members: list[_Member], drop_teacher_below: bool, require_teacher_pass: bool) -> str | None:
    teachers = [member for member in members if member.is_teacher]
    students = [member for member in members if not member.is_teacher]
    if len(members) < 2:
        return "fewer_than_two_distinct_responses"
    if teachers and require_teacher_pass and not any(member.passed for member in teachers):
        return "teacher_fails"
    if teachers and students and drop_teacher_below and teachers[0].score < students[0].score:
        return "teacher_below_student"
    if members[0].score == members[-1].score and not members[0].passed:
        return "nothing_to_learn"
    return None


def _row(problem_id: str, prompt: str, members: list[_Member], sft_target: SftTarget) -> RankedGroup:
    if sft_target == "teacher":
        targets = [index for index, member in enumerate(members) if member.is_teacher][:1]
    else:
        best = max((member.score for member in members if member.passed), default=None)
        targets = [index for index, member in enumerate(members) if member.passed and member.score == best]
    return RankedGroup(
        problem_id=problem_id,
        prompt=prompt,
        responses=[member.text for member in members],
        scores=[member.score for member in members],
        roles=[member.response.role for member in members],
        models=[member.response.model for member in members],
        sft_targets=targets,
    )


def _is_pair(group: RankedGroup, better: int, worse: int, pairs: Pairs, passing_score: float) -> bool:
    gap = group.scores[better] - group.scores[worse]
    if gap <= 0:
        return False
    if pairs == "teacher_student" and (group.roles[better], group.roles[worse]) != ("teacher", "student"):
        return False
    # a third of the unit scale is the span between no assert and all
    return group.scores[better] >= passing_score or gap >= MIN_PARTIAL_GAP * passing_score / 3
