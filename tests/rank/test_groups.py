"""Which problems give a group: unverified tests, teachers, gaps; and rankings of other problems."""

import pytest

from align.errors import DataError
from align.rank import fuse, make_groups, make_sft_rows, rank_responses
from align.schema import Problem, Ranking

from .test_fuse import Says, response, verdict


def problem(trust=None):
    told = {} if trust is None else {"tests": {"tier": "synthesised", "verdict": trust}}
    return Problem(prompt="Add.", entry_point="add", tests=["assert add(1, 2) == 3"], meta=told)


PASS, FAIL = response("good"), response("bad")
BOTH = [PASS, FAIL]
FACTS = [verdict(PASS, "passed", 8), verdict(FAIL, "wrong_answer", 4)]


def grouped(own, responses=BOTH, facts=FACTS, **options):
    rankings = rank_responses([own], responses, facts)
    return make_groups([own], responses, rankings, facts, **options)


@pytest.mark.parametrize("trust", ["weak", "unverified"])
def test_tests_that_nothing_has_verified_are_not_taken_for_true(trust):
    found = grouped(problem(trust))
    assert (found.rows, found.dropped) == ([], {"unverified_tests": 1})
    assert found.left_out == {problem(trust).id: "unverified_tests"}
    assert grouped(problem(trust), unverified="accept").rows == grouped(problem()).rows


@pytest.mark.parametrize("trust", [None, "verified"])
def test_a_problems_own_tests_and_verified_ones_count(trust):
    assert len(grouped(problem(trust)).rows) == 1


def test_a_narrow_group_and_one_of_equals_are_dropped_where_that_is_asked():
    assert grouped(problem(), min_gap=0.2).dropped == {"gap_below_minimum": 1}
    assert grouped(problem(), min_gap=0.15).dropped == {}
    equal = [verdict(one, "passed", 8) for one in BOTH]
    assert grouped(problem(), facts=equal, drop_all_equal=True).dropped == {"all_equal": 1}
    assert len(grouped(problem(), facts=equal).rows) == 1


def test_a_judge_that_prefers_a_student_does_not_put_the_teacher_below_it():
    teacher, student = response("t", "teacher"), response("s")
    facts = [verdict(teacher, "passed", 8), verdict(student, "passed", 8)]
    found = fuse([problem()], [teacher, student], facts, [Says({"s": 2, "t": 1})])
    groups = make_groups([problem()], [teacher, student], found.rankings, facts, levels=found.levels)
    assert groups.rows[0].responses == ["s", "t"]
    assert groups.rows[0].sft_targets == [0]
    # by its scores alone, a teacher's level would be below
    assert make_groups([problem()], [teacher, student], found.rankings, facts).dropped == {"teacher_below_student": 1}


@pytest.mark.parametrize("changed", [{"code": None}, {"finish": "length"}])
def test_a_teacher_whose_answer_gives_no_row_is_still_held_to_the_rules(changed):
    teacher = response("t", "teacher").model_copy(update=changed)
    facts = [verdict(teacher, "compile_error", 0), *FACTS]
    assert grouped(problem(), [teacher, *BOTH], facts).dropped == {"teacher_fails": 1}
    lenient = {"require_teacher_pass": False}
    assert grouped(problem(), [teacher, *BOTH], facts, **lenient).dropped == {"teacher_below_student": 1}
    assert len(grouped(problem(), [teacher, *BOTH], facts, **lenient, drop_teacher_below=False).rows) == 1
    # one whose request got no answer is no teacher
    assert len(grouped(problem(), [teacher, *BOTH], [verdict(teacher, "infra_error", 0), *FACTS]).rows) == 1


def test_where_nothing_was_run_the_best_are_targets_and_no_rule_on_passing_holds():
    teacher = response("t", "teacher")
    found = fuse([problem("weak")], [teacher, *BOTH], None, [Says({"good": 3, "bad": 1, "t": 2})])
    groups = make_groups([problem("weak")], [teacher, *BOTH], found.rankings, None)
    assert groups.rows[0].responses == ["good", "t", "bad"]
    assert groups.rows[0].scores == [1.0, 0.5, 0.0]
    assert [row.completion for row in make_sft_rows(groups.rows)] == ["good"]


def test_rankings_of_other_problems_or_responses_are_one_line():
    other = Ranking(problem_id="nowhere", tiers=[], scores={}, rankers=[])
    with pytest.raises(DataError, match="'nowhere', which is not here: it is of another set"):
        make_groups([problem()], BOTH, [other], FACTS)
    with pytest.raises(DataError, match="which is not among the responses"):
        make_groups([problem()], [PASS], rank_responses([problem()], BOTH, FACTS), FACTS)
