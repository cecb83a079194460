"""Fusing: execution makes the levels, and no ranker moves a response out of its own."""

import random
from itertools import product

import pytest

from align.errors import ConfigError, DataError
from align.rank import Custom, Judge, fuse, make_groups, make_pairs, rank_responses
from align.rank.protocol import Scores, pair
from align.schema import Problem, Response, Verdict

PROBLEM = Problem(prompt="Add.", entry_point="add", tests=["assert add(1, 2) == 3"])


def response(text, role="student", **changes):
    return Response(problem_id=PROBLEM.id, model=role, role=role, text=text, code=text, **changes)


def verdict(of, outcome, passed=0, total=8):
    return Verdict(
        response_id=of.id,
        problem_id=of.problem_id,
        passed=outcome == "passed",
        outcome=outcome,
        tests_passed=passed,
        tests_total=total,
        isolation="none",
    )


class Says:
    """A ranker that gives fixed scores, by text."""

    def __init__(self, values, name="says", undecided=()):
        self.name, self._values, self._undecided = name, values, undecided
        self.seen = []

    def rank(self, contests):
        for contest in contests:
            by_text = {one.text: one.id for one in contest.responses}
            self.seen.append(sorted(by_text))
            values = {by_text[text]: value for text, value in self._values.items() if text in by_text}
            loose = {pair(by_text[a], by_text[b]) for a, b in self._undecided if a in by_text and b in by_text}
            yield Scores(contest.problem.id, values, frozenset(loose))

    def report(self):
        return {"contests": len(self.seen)}


JUDGED = [
    ("p", "passed", 8),
    ("q", "passed", 8),
    ("r", "passed", 8),
    ("a", "wrong_answer", 7),
    ("b", "wrong_answer", 7),
    ("c", "wrong_answer", 6),
    ("d", "runtime_error", 0),
    ("e", "timeout", 0),
    ("f", "compile_error", 0),
    ("g", "compile_error", 0),
]
RESPONSES = [response(text, "teacher" if text in "qbe" else "student") for text, _, _ in JUDGED]
VERDICTS = [verdict(one, outcome, n) for one, (_, outcome, n) in zip(RESPONSES, JUDGED, strict=True)]
TEXTS = {one.id: one.text for one in RESPONSES}


def fused(*rankers, judged=VERDICTS, responses=RESPONSES, **options):
    return fuse([PROBLEM], responses, judged, rankers, **options)


def scores_by_text(found):
    return {TEXTS[one]: value for one, value in found.rankings[0].scores.items()}


def tiers_by_text(found):
    return ["".join(sorted(TEXTS[one] for one in tier)) for tier in found.rankings[0].tiers]


def test_without_further_rankers_the_scores_are_executions():
    (ranking,) = rank_responses([PROBLEM], RESPONSES, VERDICTS)
    found = fused()
    assert found.rankings == [ranking]
    assert found.levels == ranking.scores
    assert (ranking.rankers, ranking.agreement) == (["unit_tests"], None)


def test_a_ranker_orders_within_a_level_and_sees_no_other():
    ranker = Says(dict(zip("pqrabcdefg", (1, 3, 2, 0, 9, 99, 5, 4, 1, 1), strict=True)))
    found = fused(ranker)
    assert tiers_by_text(found) == ["q", "r", "p", "b", "a", "c", "d", "e", "fg"]
    # c stands alone on its level: there is nothing to ask
    assert sorted(ranker.seen) == [["a", "b"], ["d", "e"], ["f", "g"], ["p", "q", "r"]]
    assert found.rankings[0].rankers == ["unit_tests", "says"]


@pytest.mark.parametrize(("scale", "bonus"), product(["unit", "paper"], [0.0, 0.5, 10.0]))
def test_no_level_is_crossed_whatever_rankers_and_bonus_say(scale, bonus):
    plain = fused(score_scale=scale).levels
    draw = random.Random(scale)
    for _ in range(20):
        wild = Says({text: draw.choice([-1e9, 0.0, 1e-9, 1e9]) for text in "pqrabcdefg"})
        upside_down = Says({text: ord(text) for text in "pqrabcdefg"}, name="other")
        found = fused(wild, upside_down, score_scale=scale, teacher_tie_bonus=bonus, band=0.49)
        scores = found.rankings[0].scores
        assert all(scores[one] > scores[other] for one in plain for other in plain if plain[one] > plain[other])
        assert found.levels == plain


def test_what_fails_never_gets_the_score_of_what_passes_though_nothing_passes_there():
    some = [one for one in RESPONSES if one.text in "abde"]
    judged = [one for one in VERDICTS if TEXTS[one.response_id] in "abde"]
    ranker = Says(dict(zip("abde", (1, 2, 3, 4), strict=True)))
    found = fused(ranker, judged=judged, responses=some, teacher_tie_bonus=0.5)
    assert max(found.rankings[0].scores.values()) < 1.0
    paper = fused(ranker, judged=judged, responses=some, teacher_tie_bonus=0.5, score_scale="paper")
    assert max(paper.rankings[0].scores.values()) < 3.0


def test_the_lowest_of_a_level_keeps_its_score_and_a_level_of_equals_all_do():
    found = scores_by_text(fused(Says(dict(zip("pqrab", (1, 3, 2, 5, 5), strict=True)))))
    assert found["p"] == 1.0
    assert found["q"] == pytest.approx(1.0 + 0.25 / 3)
    assert found["a"] == found["b"] == (2 + 7 / 8) / 3


def test_a_ranker_that_leaves_one_out_has_no_say_in_that_level():
    found = fused(Says({"p": 1, "q": 2, "a": 1, "b": 2}))
    assert tiers_by_text(found) == ["pqr", "b", "a", "c", "de", "fg"]


def test_weights_decide_between_rankers_and_equal_ones_that_disagree_tie():
    one, other = Says({"p": 1, "q": 2, "r": 3}, "one"), Says({"p": 3, "q": 2, "r": 1}, "other")
    assert tiers_by_text(fused(one, other))[0] == "pqr"
    assert tiers_by_text(fused(one, other, weights={"one": 1.5}))[:3] == ["r", "q", "p"]
    assert tiers_by_text(fused(one, other, weights={"one": 0.0}))[:3] == ["p", "q", "r"]


def test_agreement_is_the_share_of_pairs_that_two_rankers_order_alike():
    one, other = Says({"p": 1, "q": 2, "r": 3}, "one"), Says({"p": 1, "q": 3, "r": 2}, "other")
    assert fused(one, other).rankings[0].agreement == pytest.approx(2 / 3, abs=1e-4)
    assert fused(one).rankings[0].agreement is None
    # a tie is no opinion
    assert fused(one, Says({"p": 1, "q": 1, "r": 1}, "third")).rankings[0].agreement is None


def test_an_undecided_pair_is_no_preference():
    # p before q was not decided, but each stands apart from r
    ranker = Says({"p": 3, "q": 2, "r": 1}, undecided=[("p", "q")])
    assert tiers_by_text(fused(ranker))[:2] == ["pq", "r"]
    # p stands above q and q above r, but nobody said that p stands above r
    found = fused(Says({"p": 3, "q": 2, "r": 1}, undecided=[("p", "r")]))
    assert tiers_by_text(found)[:3] == ["p", "q", "r"]
    assert [sorted(TEXTS[one] for one in two) for two in found.undecided] == [["p", "r"]]


def test_undecided_pairs_reach_no_preference_pair():
    four = [response(text) for text in "wxyz"]
    judged = [verdict(one, "passed", 8) for one in four]
    ranker = Says({"w": 4, "x": 3, "y": 2, "z": 1}, undecided=[("w", "x"), ("w", "z")])
    found = fuse([PROBLEM], four, judged, [ranker])
    ids = {one.text: one.id for one in four}
    scores = found.rankings[0].scores
    assert scores[ids["w"]] > scores[ids["z"]]
    assert pair(ids["w"], ids["z"]) in found.undecided
    groups = make_groups([PROBLEM], four, found.rankings, judged, levels=found.levels, undecided=found.undecided)
    pairs = {(one.chosen, one.rejected) for one in make_pairs(groups)}
    assert ("w", "z") not in pairs
    assert ("x", "z") in pairs
    assert ("w", "z") in {(one.chosen, one.rejected) for one in make_pairs(groups.rows)}


def test_rankers_are_not_asked_about_problems_that_do_not_matter():
    ranker = Says({})
    assert fused(ranker, unasked={PROBLEM.id}).rankings[0].rankers == ["unit_tests", "says"]
    assert ranker.seen == []


def test_without_execution_all_responses_are_one_level():
    ranker = Says({text: number for number, text in enumerate("pqrabcdefg")})
    found = fused(ranker, judged=None)
    assert tiers_by_text(found) == list("gfedcbarqp")
    assert (min(scores_by_text(found).values()), max(scores_by_text(found).values())) == (0.0, 1.0)
    assert (found.levels, found.rankings[0].rankers) == ({}, ["says"])


def longer(prompt):
    first, second = prompt.split("----- answer A")[1].split("----- answer B")
    return f"Verdict: {'A' if len(first) > len(second) else 'B'}"


LIARS = {
    "random": lambda prompt: random.choice(["Verdict: A", "Verdict: B"]),
    "first": lambda prompt: "Verdict: A",
    "longer": longer,
    "garbage": lambda prompt: "\x00\ud800" * 40,
}


@pytest.mark.parametrize("name", LIARS)
def test_a_judge_that_lies_changes_no_level(name):
    found = fused(Judge(LIARS[name]))
    scores, levels = found.rankings[0].scores, found.levels
    assert all(scores[one] > scores[other] for one in levels for other in levels if levels[one] > levels[other])


def test_a_function_of_the_users_own_is_a_ranker():
    found = fused(Custom(lambda problem, response: -ord(response.text), name="mine"))
    assert tiers_by_text(found)[:3] == ["p", "q", "r"]


def test_mistakes_are_one_line():
    with pytest.raises(ConfigError, match=r"^weights: no ranker 'juge'"):
        fused(Says({}, name="judge"), weights={"juge": 1.0})
    with pytest.raises(ConfigError, match=r"^weights: says: -1 is below 0"):
        fused(Says({}), weights={"says": -1})
    with pytest.raises(ConfigError, match=r"^band: 0.5 must lie"):
        fused(band=0.5)
    with pytest.raises(DataError, match="nowhere"):
        fuse([PROBLEM], [Response(problem_id="nowhere", text="x")], None, [Says({})])
