"""Bad judges are exposed by the report, and none of them moves a response out of its level."""

import json
import random
import re

import pytest

from align.rank import fuse, rank_responses
from align.rank.comparison import Comparison, cyclic_triples, length_correlation, wilson
from align.rank.judge import Judge
from align.rank.judge_report import JudgeReport
from align.schema import Problem, Response, Verdict

ANSWER = re.compile(r"----- answer ?(?:\w?) \(\w+\) -----\n(.*?)\n----- end of answer", re.DOTALL)
OUTCOMES = [("passed", 4), ("passed", 4), ("passed", 4), ("wrong_answer", 1), ("wrong_answer", 1), ("compile_error", 0)]


@pytest.fixture(scope="module")
def judged_by_tests():
    """40 problems of 6 responses in 3 levels; their quality stands in their text, their length is random."""
    draw = random.Random(0)
    problems = [Problem(prompt=f"Problem {index}.", tests=["assert f()"]) for index in range(40)]
    responses, verdicts = [], []
    for problem in problems:
        for index, (outcome, passed) in enumerate(OUTCOMES):
            text = f"quality {6 - index}\n" + "x" * draw.randrange(1, 400)
            one = Response(problem_id=problem.id, sample_index=index, text=text, code=text)
            responses.append(one)
            verdicts.append(
                Verdict(
                    response_id=one.id,
                    problem_id=problem.id,
                    passed=outcome == "passed",
                    outcome=outcome,
                    tests_passed=passed,
                    tests_total=4,
                    isolation="none",
                )
            )
    return problems, responses, verdicts


def honest(prompt):
    a, b = (int(text.split()[1]) for text in ANSWER.findall(prompt))
    return f"Verdict: {'A' if a > b else 'B'}"


def longer(prompt):
    a, b = map(len, ANSWER.findall(prompt))
    return f"Verdict: {'tie' if a == b else 'A' if a > b else 'B'}"


def lots():
    draw = random.Random(1)
    return lambda prompt: f"Verdict: {draw.choice('AB')}"


JUDGES = {
    "random": (lots(), "the order of showing decides"),
    "first": (lambda prompt: "Verdict: A", "prefers what is shown first"),
    "last": (lambda prompt: "Verdict: B", "prefers what is shown last"),
    "longer": (longer, "the longer answer wins"),
    "garbage": (lambda prompt: "I like both answers! \ud800", "cannot be read"),
}


def used(judge, given, **options):
    """The levels by execution, the tiers that the judge makes of them, and its report."""
    problems, responses, verdicts = given
    rankings = rank_responses(problems, responses, verdicts)
    judge = Judge(judge, **options)
    tiers = [ranking.tiers for ranking in fuse(problems, responses, verdicts, [judge]).rankings]
    judge.audit(problems, responses, rankings)
    return [ranking.tiers for ranking in rankings], tiers, judge


def assert_levels_stand(levels, tiers):
    for before, after in zip(levels, tiers, strict=True):
        level = {one: index for index, tier in enumerate(before) for one in tier}
        order = [[level[one] for one in tier] for tier in after]
        assert all(len(set(found)) == 1 for found in order)
        flat = [found[0] for found in order]
        assert flat == sorted(flat)
        assert sorted(one for tier in after for one in tier) == sorted(level)


def test_a_good_judge_orders_within_levels_and_is_not_warned_of(judged_by_tests):
    levels, tiers, judge = used(honest, judged_by_tests)
    assert_levels_stand(levels, tiers)
    assert all([len(tier) for tier in found] == [1] * 6 for found in tiers)
    report = judge.report()
    assert report["warnings"] == []
    assert report["agreement"]["share"] == 1.0
    assert report["flips"]["share"] == 0.0
    assert (report["triples"], report["cycles"]) == (40, 0)
    assert abs(report["length_correlation"]) < 0.2
    assert report["questions"] == 40 * (2 * 3 + 2 * 1) + 2 * report["agreement"]["n"]


@pytest.mark.parametrize("name", JUDGES)
def test_a_bad_judge_is_exposed_and_changes_no_level(judged_by_tests, name):
    judge, warning = JUDGES[name]
    levels, tiers, judge = used(judge, judged_by_tests)
    assert_levels_stand(levels, tiers)
    report = judge.report()
    assert any(warning in line for line in report["warnings"]), report
    json.dumps(report, allow_nan=False)
    assert all(isinstance(cell, str) for row in judge.figures.table() for cell in row)


def test_each_fault_has_its_own_figure(judged_by_tests):
    reports = {name: used(judge, judged_by_tests)[2].report() for name, (judge, _) in JUDGES.items()}
    assert 0.35 < reports["random"]["flips"]["share"] < 0.65
    assert reports["random"]["agreement"]["low"] < 0.5 < reports["random"]["agreement"]["high"]
    assert reports["random"]["cycles"] > 0
    for name, first in (("first", 1.0), ("last", 0.0), ("longer", 0.5)):
        assert reports[name]["first"]["share"] == first
    # a judge that looks at the place alone decides nothing
    assert reports["first"]["ties"]["share"] == 1.0
    assert reports["first"]["agreement"]["n"] == 0
    assert reports["longer"]["longer"]["share"] == 1.0
    assert reports["longer"]["length_correlation"] > 0.7
    agreement = reports["longer"]["agreement"]
    assert (agreement["where_longer_is_right"]["share"], agreement["where_shorter_is_right"]["share"]) == (1.0, 0.0)
    assert reports["garbage"]["failed"]["share"] == 1.0
    assert reports["garbage"]["failures"] == {"unreadable": reports["garbage"]["questions"]}


def test_a_pointwise_judge_that_scores_length_or_lots_is_exposed_too(judged_by_tests):
    def length(prompt):
        (text,) = ANSWER.findall(prompt)
        return f"Score: {1 + len(text) // 50}"

    draw = random.Random(2)
    for judge, warning in (
        (length, "the longer answer wins"),
        (lambda prompt: f"Score: {draw.randint(1, 10)}", "no better than by chance"),
    ):
        levels, tiers, judge = used(judge, judged_by_tests, mode="pointwise")
        assert_levels_stand(levels, tiers)
        assert any(warning in line for line in judge.report()["warnings"]), judge.report()


def test_the_audit_ranks_nothing(judged_by_tests):
    problems, responses, verdicts = judged_by_tests
    judge = Judge(honest)
    judge.audit(problems, responses, rank_responses(problems, responses, verdicts), most=7)
    assert judge.figures.comparisons == []
    assert [one.truth for one in judge.figures.audit] == [1] * 7
    assert len({one.problem_id for one in judge.figures.audit}) == 7


def compared(first, second, *votes, lengths=(1, 1), problem="p"):
    return Comparison(problem, first, second, votes, lengths)


def test_the_outcome_is_what_both_orders_say():
    assert compared("a", "b", 1, 1).outcome == 1
    assert compared("a", "b", 1, -1).outcome == 0
    assert compared("a", "b", 1, 0).outcome == 0
    assert compared("a", "b", 1, None).outcome is None
    assert not compared("a", "b", 1, 0).is_flipped


def test_circles_are_counted_within_a_problem_and_not_across():
    circle = [compared("a", "b", 1, 1), compared("b", "c", 1, 1), compared("a", "c", -1, -1)]
    assert cyclic_triples(circle) == (1, 1)
    assert cyclic_triples(circle[:2]) == (0, 0)
    assert cyclic_triples([*circle[:2], compared("a", "c", -1, -1, problem="q")]) == (0, 0)


def test_the_length_figure_has_no_orientation_and_stays_finite():
    assert length_correlation([]) is None
    assert length_correlation([compared("a", "b", 1, 1)]) is None
    forth, back = compared("a", "b", 1, 1, lengths=(9, 3)), compared("b", "a", -1, -1, lengths=(3, 9))
    assert length_correlation([forth] * 5) == pytest.approx(1.0)
    assert length_correlation([forth, back]) == pytest.approx(1.0)
    assert length_correlation([forth, compared("a", "b", -1, -1, lengths=(9, 3))]) == pytest.approx(0.0)


def test_wilsons_interval():
    # 1 of 2 and 8 of 10, as Newcombe (1998) computes them
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-3)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(5, 5)[1] == 1.0


def test_a_judge_that_did_nothing_has_a_report():
    assert JudgeReport().as_dict()["warnings"] == []
    json.dumps(JudgeReport().as_dict(), allow_nan=False)
