"""scripts/bench/consensus.py: what is cut out of generations, drawn, chosen and compared."""

import importlib
from collections import Counter
from pathlib import Path

import pytest

from align.schema import Problem
from align.testgen.matrix import OutcomeMatrix

BENCH = Path(__file__).parents[1] / "scripts" / "bench"


@pytest.fixture
def module(monkeypatch):
    """A module of the bench by its name."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module


def toy(codet, few):
    setting = codet.Setting(
        Problem(prompt="p", entry_point="f"), ("a", "b", "a", "c"), (("t1",), ("t1", "t2"), (), ("t3",))
    )
    matrix = OutcomeMatrix("p", ("t1", "t2", "t3"), (2, 1, 1), ("a", "b", "c"), (2, 1, 1), ("11A", "1AA", "000"))
    return few.Problem(setting, matrix, {"a": True, "b": False, "c": False})


def test_asserts_are_cut_as_codets_code_cuts_them(module):
    text = "f(1) == 2\nassert f(2)\\\n  == 4, 'x'\n# f(9)\nassert g(1)\nassert f(\nassert not f(0)\ndef f(x): pass"
    assert module("codet").asserts(text, "f") == ["assert f(1) == 2", "assert f(2)\\\n  == 4, 'x'", "assert not f(0)"]


def test_a_draw_has_the_tests_of_its_own_generations_or_all(module):
    few = module("few")
    problem = toy(module("codet"), few)
    for own, whole in zip(few.drawn(problem, 2, "own", 20, 1), few.drawn(problem, 2, "all", 20, 1), strict=True):
        assert own.programs == whole.programs
        assert sum(own.program_counts) == 2
        assert dict(zip(whole.cases, whole.case_counts, strict=True)) == {"t1": 2, "t2": 1, "t3": 1}
        assert set(own.cases) <= set(whole.cases)
    drawn = list(few.drawn(problem, 4, "own", 1, 1))
    assert Counter(dict(zip(drawn[0].cases, drawn[0].case_counts, strict=True))) == {"t1": 2, "t2": 1, "t3": 1}


def test_rules_meet_the_same_draws_and_rank(module):
    few = module("few")
    problem = toy(module("codet"), few)
    first = few.scores(problem, 4, "own", ["random", "codet", "both, 2 and 8"], 3, 0)
    assert first == pytest.approx([0.5, 1.0, 1.0])
    assert (
        few.scores(problem, 2, "own", ["codet"], 9, 0) == few.scores(problem, 2, "own", ["random", "codet"], 9, 0)[1:]
    )


def test_a_rule_is_measured_on_problems_that_did_not_choose_it(module):
    few = module("few")
    table = {4: {"codet": [0.0, 0.5] * 10, "other": [1.0, 0.25] * 10}}
    (line,) = few.chosen_and_measured(table, 0)
    assert (line.rule, line.value, line.base, line.gain) == ("other", 25.0, 50.0, (-25.0, -25.0, -25.0))
    assert few.chosen_and_measured(table, 1)[0].rule == "codet"
