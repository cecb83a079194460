"""Scores, rankings, groups and pairs from given verdicts: no program runs here."""

import pytest

from align.errors import DataError
from align.rank import make_groups, make_pairs, make_sft_rows, rank_responses, raw_score
from align.schema import Problem, Response, Verdict

PROBLEM = Problem(prompt="Add.", entry_point="add", tests=["assert add(1, 2) == 3"])


def response(code, role="student", **changes):
    return Response(problem_id=PROBLEM.id, model=role, role=role, text=code, code=code, **changes)


def verdict(of, outcome, passed=0, total=4):
    return Verdict(
        response_id=of.id,
        problem_id=PROBLEM.id,
        passed=outcome == "passed",
        outcome=outcome,
        tests_passed=passed,
        tests_total=total,
        isolation="none",
    )


@pytest.mark.parametrize(
    ("outcome", "passed", "raw"),
    [
        ("compile_error", 0, 0.0),
        ("runtime_error", 0, 1.0),
        ("timeout", 0, 1.0),
        ("timeout", 1, 2.25),
        ("wrong_answer", 0, 2.0),
        ("wrong_answer", 3, 2.75),
        ("passed", 4, 3.0),
        ("unsupported", 0, None),
        ("test_error", 0, None),
        ("infra_error", 0, None),
    ],
)
def test_raw_scores_are_the_designs(outcome, passed, raw):
    assert raw_score(verdict(response("x"), outcome, passed)) == raw


def ranked(*judged, **options):
    responses = [one for one, _, _ in judged]
    verdicts = [verdict(one, outcome, passed) for one, outcome, passed in judged]
    group_options = {key: options.pop(key) for key in list(options) if key not in ("score_scale", "teacher_tie_bonus")}
    rankings = rank_responses([PROBLEM], responses, verdicts, **options)
    return rankings, make_groups([PROBLEM], responses, rankings, verdicts, **group_options)


def test_equal_scores_share_a_tier_and_the_paper_scale_has_levels_only():
    judged = [(response("a"), "wrong_answer", 1), (response("b"), "wrong_answer", 2), (response("c"), "passed", 4)]
    rankings, _ = ranked(*judged)
    assert [len(tier) for tier in rankings[0].tiers] == [1, 1, 1]
    assert max(rankings[0].scores.values()) == 1.0
    rankings, _ = ranked(*judged, score_scale="paper")
    assert [len(tier) for tier in rankings[0].tiers] == [1, 2]


def test_a_verdict_that_is_not_the_programs_fault_is_no_score():
    rankings, groups = ranked((response("a"), "unsupported", 0), (response("b"), "passed", 4))
    assert len(rankings[0].scores) == 1
    assert groups.dropped == {"fewer_than_two_distinct_responses": 1}


def test_all_passing_responses_are_targets_and_the_group_is_best_first():
    _, groups = ranked((response("a"), "wrong_answer", 1), (response("b"), "passed", 4), (response("c"), "passed", 4))
    row = groups.rows[0]
    assert row.responses == ["b", "c", "a"]
    assert row.sft_targets == [0, 1]
    assert [line.completion for line in make_sft_rows(groups.rows)] == ["b", "c"]


def test_where_nothing_passes_there_is_no_target():
    _, groups = ranked((response("a"), "wrong_answer", 1), (response("b"), "runtime_error", 0))
    assert groups.rows[0].sft_targets == []


def test_equal_programs_count_once_and_answers_that_were_cut_are_left_out():
    _, groups = ranked(
        (response("a"), "passed", 4),
        (response("a", sample_index=1), "passed", 4),
        (response("b", finish="length"), "passed", 4),
        (response("c"), "compile_error", 0),
    )
    assert groups.rows[0].responses == ["a", "c"]


def test_teacher_rules_touch_only_problems_with_a_teacher():
    teacher, student = response("t", "teacher"), response("s")
    _, groups = ranked((teacher, "wrong_answer", 1), (student, "passed", 4))
    assert groups.dropped == {"teacher_fails": 1}
    _, groups = ranked((teacher, "wrong_answer", 1), (student, "passed", 4), require_teacher_pass=False)
    assert groups.dropped == {"teacher_below_student": 1}
    _, groups = ranked(
        (teacher, "wrong_answer", 1), (student, "passed", 4), require_teacher_pass=False, drop_teacher_below=False
    )
    assert groups.rows[0].responses == ["s", "t"]
    _, groups = ranked((student, "passed", 4), (response("u"), "wrong_answer", 1))
    assert len(groups.rows) == 1


def test_the_tie_bonus_lifts_a_teacher_above_an_equal_student():
    teacher, student = response("t", "teacher"), response("s")
    rankings, _ = ranked((student, "passed", 4), (teacher, "passed", 4))
    assert len(rankings[0].tiers) == 1
    rankings, groups = ranked(
        (student, "passed", 4), (teacher, "passed", 4), teacher_tie_bonus=0.5, sft_target="teacher"
    )
    assert rankings[0].tiers == [[teacher.id], [student.id]]
    assert groups.rows[0].sft_targets == [0]


def test_pairs_follow_clear_orders_only():
    _, groups = ranked(
        (response("a"), "passed", 4),
        (response("b"), "wrong_answer", 2),
        (response("c"), "wrong_answer", 1),
        (response("d"), "runtime_error", 0),
    )
    pairs = {(pair.chosen, pair.rejected) for pair in make_pairs(groups.rows)}
    # b over c leads by a quarter of the asserts only
    assert pairs == {("a", "b"), ("a", "c"), ("a", "d"), ("b", "d"), ("c", "d")}
    assert make_pairs(groups.rows, pairs="teacher_student") == []


def test_unknown_problems_and_missing_verdicts_are_one_line():
    stray = Response(problem_id="nowhere", text="x", code="x")
    with pytest.raises(DataError, match="nowhere"):
        rank_responses([PROBLEM], [stray], [])
    with pytest.raises(DataError, match="has no verdict"):
        rank_responses([PROBLEM], [response("x")], [])
    bare = Problem(prompt="Add.")
    with pytest.raises(DataError, match="has no tests"):
        rank_responses([bare], [Response(problem_id=bare.id, text="x", code="x")], [])
