"""Turn rankings into ranked groups, the rows of RRTF and RRHF, and say why a problem gives none. All text is final.

Preference pairs are made of groups in `pairs`, other projects' forms in `exports`.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..errors import DataError
from ..schema import Problem, RankedGroup, Ranking, Response, SftRow, Verdict
from ..testgen.gates import is_verified
from ..text.template import prompt_text
from .protocol import Pair, pair
from .unit_tests import index_problems

SftTarget = Literal["best_passing", "teacher"]
Unverified = Literal["drop", "accept"]
FEW, UNVERIFIED, FAILS, BELOW = (
    "fewer_than_two_distinct_responses",
    "unverified_tests",
    "teacher_fails",
    "teacher_below_student",
)
NOTHING, ALL_EQUAL, NARROW = "nothing_to_learn", "all_equal", "gap_below_minimum"
BY_SCORE = frozenset({NOTHING, ALL_EQUAL, NARROW})
"""Reasons that go by scores: a further ranker may change them, but none of the others."""


@dataclass(frozen=True)
class Rules:
    """Which problems give a group."""

    drop_teacher_below: bool = True
    """Drop a problem where the teacher's best stands below the students' best, by execution."""
    require_teacher_pass: bool = True
    """Drop a problem where no teacher passes. Both touch only problems with a teacher."""
    unverified: Unverified = "drop"
    """`drop` problems whose tests nothing has verified; `accept`: to pass them is to pass."""
    min_gap: float = 0.0
    """Drop a problem whose best and worst response are less apart."""
    drop_all_equal: bool = False
    """Drop a problem whose responses are all equal, though they pass: there is no order to learn."""


@dataclass(frozen=True)
class Groups:
    """Ranked groups, how many problems were dropped by reason, and what the rows have no column for."""

    rows: list[RankedGroup] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    levels: list[list[float]] = field(default_factory=list)
    """For each row the responses' scores by execution alone."""
    undecided: list[frozenset[tuple[int, int]]] = field(default_factory=list)
    """For each row the pairs of responses, the smaller index first, that carry no order whatever the scores say."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Id of each dropped problem → the reason."""


@dataclass(frozen=True)
class _Member:
    response: Response
    text: str
    score: float
    level: float
    passed: bool

    @property
    def is_teacher(self) -> bool:
        return self.response.role == "teacher"


def make_groups(
    problems: Iterable[Problem],
    responses: Sequence[Response],
    rankings: Iterable[Ranking],
    verdicts: Iterable[Verdict] | None,
    *,
    prompt_text: Callable[[Problem], str] = prompt_text,
    completion_text: Callable[[str], str] = str,
    sft_target: SftTarget = "best_passing",
    drop_teacher_below: bool = True,
    require_teacher_pass: bool = True,
    unverified: Unverified = "drop",
    min_gap: float = 0.0,
    drop_all_equal: bool = False,
    levels: Mapping[str, float] | None = None,
    undecided: Collection[Pair] = (),
) -> Groups:
    """RRTF / RRHF groups: the distinct responses of each problem with their scores, best first.

    Args:
        problems: the problems, in any order.
        responses: the responses that were ranked.
        rankings: their order.
        verdicts: tell what passes; None: nothing was run.
        prompt_text: the final prompt of a problem; its own text by default.
        completion_text: the final text of a program; the program itself by default.
        sft_target: `best_passing`: every passing response of the best tier, or the best tier where nothing was run;
            `teacher`: the teacher's best.
        drop_teacher_below, require_teacher_pass, unverified, min_gap, drop_all_equal: see `Rules`.
        levels: `Fused.levels`, where other rankers than unit tests have a part in the scores.
        undecided: `Fused.undecided`.

    Raises:
        DataError: a ranking is of other problems or other responses.
    """
    rules = Rules(drop_teacher_below, require_teacher_pass, unverified, min_gap, drop_all_equal)
    index = index_problems(problems)
    by_id = {response.id: response for response in responses}
    passed = None if verdicts is None else {verdict.response_id for verdict in verdicts if verdict.passed}
    found, open_pairs = Groups(), frozenset(undecided)
    for ranking in rankings:
        if ranking.problem_id not in index:
            raise DataError(f"a ranking is of problem {ranking.problem_id!r}, which is not here: it is of another set")
        problem = index[ranking.problem_id]
        members = _members(ranking, by_id, passed or set(), completion_text, levels or {})
        fault = None if passed is None else _fault_of_teacher(ranking, by_id, passed, levels or {}, rules)
        reason = _reject(problem, members, rules, fault, was_run=passed is not None)
        if reason:
            found.left_out[problem.id] = reason
            continue
        row = _row(problem.id, prompt_text(problem), members, _targets(members, sft_target, passed is not None))
        found.rows.append(row)
        found.levels.append([member.level for member in members])
        found.undecided.append(_open(members, open_pairs))
    found.dropped.update(sorted(Counter(found.left_out.values()).items()))
    return found


def make_sft_rows(groups: Iterable[RankedGroup]) -> list[SftRow]:
    """One row for every SFT target of every group."""
    return [
        SftRow(prompt=group.prompt, completion=group.responses[index])
        for group in groups
        for index in group.sft_targets or ()
    ]


def _members(
    ranking: Ranking,
    by_id: Mapping[str, Response],
    passed: set[str],
    completion_text: Callable[[str], str],
    levels: Mapping[str, float],
) -> list[_Member]:
    """The distinct final texts, best first; of equal texts the first stays, a teacher's before a student's."""
    for response_id in ranking.scores:
        if response_id not in by_id:
            raise DataError(
                f"the ranking of problem {ranking.problem_id!r} names response {response_id!r}, which is not among "
                "the responses: it is of other responses"
            )
    ordered = [by_id[response_id] for tier in ranking.tiers for response_id in tier]
    ordered.sort(key=lambda response: (-ranking.scores[response.id], response.role != "teacher"))
    kept: dict[str, _Member] = {}
    for response in ordered:
        # an answer cut by the length limit has no end to learn from
        if response.code is not None and response.finish == "stop":
            text, score = completion_text(response.code), ranking.scores[response.id]
            level = levels.get(response.id, score)
            kept.setdefault(text, _Member(response, text, score, level, response.id in passed))
    return list(kept.values())


def _fault_of_teacher(
    ranking: Ranking, by_id: Mapping[str, Response], passed: set[str], levels: Mapping[str, float], rules: Rules
) -> str | None:
    """Why a problem goes for its teacher's sake: by all ranked answers, also those without a text to train on."""
    standing: dict[bool, dict[str, float]] = {True: {}, False: {}}
    for one, score in ranking.scores.items():
        standing[by_id[one].role == "teacher"][one] = levels.get(one, score)
    teachers, students = standing[True], standing[False]
    if teachers and rules.require_teacher_pass and passed.isdisjoint(teachers):
        return FAILS
    is_below = teachers and students and max(teachers.values()) < max(students.values())
    return BELOW if rules.drop_teacher_below and is_below else None


def _reject(problem: Problem, members: list[_Member], rules: Rules, fault: str | None, *, was_run: bool) -> str | None:
    if was_run and rules.unverified == "drop" and not is_verified(problem):
        return UNVERIFIED
    if len(members) < 2:
        return FEW
    if fault:
        return fault
    gap = members[0].score - members[-1].score
    if gap == 0 and not members[0].passed:
        return NOTHING
    if gap == 0 and rules.drop_all_equal:
        return ALL_EQUAL
    return NARROW if gap < rules.min_gap else None


def _targets(members: Sequence[_Member], sft_target: SftTarget, was_run: bool) -> list[int]:
    if sft_target == "teacher":
        return [index for index, member in enumerate(members) if member.is_teacher][:1]
    right = [index for index, member in enumerate(members) if member.passed or not was_run]
    best = max((members[index].score for index in right), default=None)
    return [index for index in right if members[index].score == best]


def _row(problem_id: str, prompt: str, members: Sequence[_Member], targets: list[int]) -> RankedGroup:
    return RankedGroup(
        problem_id=problem_id,
        prompt=prompt,
        responses=[member.text for member in members],
        scores=[member.score for member in members],
        roles=[member.response.role for member in members],
        models=[member.response.model for member in members],
        sft_targets=targets,
    )


def _open(members: Sequence[_Member], undecided: frozenset[Pair]) -> frozenset[tuple[int, int]]:
    if not undecided:
        return frozenset()
    ids = [member.response.id for member in members]
    return frozenset(
        (first, second)
        for first in range(len(ids))
        for second in range(first + 1, len(ids))
        if pair(ids[first], ids[second]) in undecided
    )
