"""Which of a group's responses become pairs."""

from collections import Counter

import pytest

from align.rank import choose_pairs, fuse, make_groups, make_pairs, on_policy
from align.schema import RankedGroup

from .test_fuse import PROBLEM, Says, response, verdict


def group(scores, roles=None, problem_id="p"):
    k = len(scores)
    return RankedGroup(
        problem_id=problem_id,
        prompt="Add.\n",
        responses=[f"r{i}" for i in range(k)],
        scores=scores,
        roles=roles or ["student"] * k,
        models=["m"] * k,
    )


def told(groups, **options):
    return [(one.chosen, one.rejected) for one in make_pairs(groups, **options)]


def test_best_against_worst_is_one_pair_of_the_ends():
    assert told([group([1.0, 0.9, 0.5, 0.1])], pairs="best_worst") == [("r0", "r3")]


def test_best_against_random_draws_any_other_and_the_same_one_for_a_seed():
    many = [group([1.0, 0.9, 0.5, 0.1], problem_id=f"p{i}") for i in range(300)]
    found = told(many, pairs="best_random")
    assert found == told(many, pairs="best_random")
    assert found != told(many, pairs="best_random", seed=1)
    counts = Counter(found)
    assert set(counts) == {("r0", "r1"), ("r0", "r2"), ("r0", "r3")}
    assert min(counts.values()) > 60


def test_of_equally_good_ones_any_is_the_best():
    many = [group([1.0, 1.0, 0.1, 0.1], problem_id=f"p{i}") for i in range(100)]
    for kind in ("best_worst", "best_random"):
        assert len(set(told(many, pairs=kind))) == 4
        assert len(told(many, pairs=kind)) == 100


def test_equals_give_no_pair_of_any_kind():
    for kind in ("all", "best_worst", "best_random", "teacher_student"):
        assert told([group([1.0, 1.0])], pairs=kind) == []


def test_a_teacher_above_a_student_only():
    roles = ["student", "teacher", "student", "teacher"]
    assert told([group([1.0, 0.9, 0.5, 0.1], roles)], pairs="teacher_student", passing_score=0.9) == [("r1", "r2")]


def test_at_most_so_many_pairs_a_problem_the_widest_or_in_proportion_to_the_gap():
    ends = [group([1.0, 0.9, 0.5, 0.1])]
    assert told(ends, max_pairs=2) == [("r0", "r3"), ("r1", "r3")]
    assert told(ends, max_pairs=9) == told(ends)
    many = [group([1.0, 0.9, 0.1], problem_id=f"p{i}") for i in range(400)]
    counts = Counter(told(many, max_pairs=1, draw="gap_weighted"))
    # r1 does not pass, but leads r2 by more than 0.4 of a level: gaps 0.1, 0.9 and 0.8
    assert counts["r0", "r1"] < 60 < counts["r1", "r2"] < counts["r0", "r2"]
    assert sum(counts.values()) == 400


def test_the_least_lead_where_neither_passes_is_a_setting():
    partial = [group([0.9, 0.8])]
    assert told(partial) == []
    assert told(partial, min_partial_gap=0.2) == [("r0", "r1")]
    assert told([group([2.9, 2.4])], passing_score=3.0) == [("r0", "r1")]
    assert told([group([0.9, 0.8])], passing_score=0.0) == [("r0", "r1")]


def test_a_judge_makes_no_pair_of_two_that_fail_nor_widens_their_lead():
    texts = {"a": 5, "b": 2, "c": 2}
    responses = [response(text) for text in texts]
    facts = [verdict(one, "wrong_answer", texts[one.text]) for one in responses]
    found = fuse([PROBLEM], responses, facts, [Says({"b": 1, "c": 2})])
    groups = make_groups([PROBLEM], responses, found.rankings, facts, levels=found.levels)
    assert len(set(groups.rows[0].scores)) == 3
    assert told(groups) == []


@pytest.mark.parametrize("roles", [["student", "teacher", "student"]])
def test_how_much_is_the_students_own_is_told(roles):
    groups = [group([1.0, 0.6, 0.1], roles)]
    chosen = choose_pairs(groups)
    assert [(one.better, one.worse) for one in chosen] == [(0, 1), (0, 2), (1, 2)]
    assert on_policy(groups, chosen) == {"responses": 0.6667, "chosen": 0.6667, "both_sides": 0.3333}
    assert on_policy([], []) == {"responses": None, "chosen": None, "both_sides": None}
