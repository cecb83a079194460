"""Rankers that read programs and run nothing."""

import json
import warnings

import pytest

from align.errors import ConfigError
from align.rank.fuse import tiers
from align.rank.measures import MEASURES
from align.rank.protocol import Contest, contests, dense, with_margin
from align.rank.static import Preference, Static
from align.schema import Problem, Response

PROBLEM = Problem(prompt="Add.")
GOOD = 'def add(a: int, b: int) -> int:\n    """Add."""\n    return a + b\n'


def response(code, **changes):
    return Response(problem_id=PROBLEM.id, text=code or "", code=code, **changes)


def order(ranker, *codes, passed=None):
    responses = tuple(response(code) for code in codes)
    (scores,) = ranker.rank([Contest(PROBLEM, responses, passed)])
    by_id = {one.id: codes.index(one.code) for one in responses}
    json.dumps(scores.facts, allow_nan=False)
    assert all(0 <= value <= 1 for value in scores.values.values())
    return [[by_id[one] for one in tier] for tier in tiers(scores.values)]


@pytest.mark.parametrize(
    ("measure", "code", "value"),
    [
        ("parses", GOOD, 1),
        ("parses", "def f(:", 0),
        ("lint", GOOD, 0),
        ("lint", "import os\nx = y\n", -2),
        ("complexity", GOOD, -1),
        ("complexity", "if a and b or c:\n    x = [i for i in z if i if not i]\n", -7),
        ("complexity", "try:\n    f()\nexcept A:\n    pass\nexcept B:\n    pass\n", -3),
        ("complexity", "match x:\n    case 1:\n        pass\n    case _:\n        pass\n", -3),
        ("length", "x", -4),
        ("length", "# a comment\n\nx  # another", -4),
        ("quiet", "print(input())\nprint = 1", -2),
        ("documented", GOOD, 1),
        ("documented", GOOD + "def g(): pass\n", 0.5),
        ("annotated", GOOD, 1),
        ("annotated", "def f(a): pass\ndef g(self, b: int) -> int: pass\n", 0.5),
        ("self_contained", "import os, numpy.linalg\nfrom pandas import x\nfrom . import y\n", -2),
    ],
)
def test_what_is_measured(measure, code, value):
    assert MEASURES[measure](response(code)) == value


HOSTILE = [
    None,
    "",
    "\x00",
    "\ud800",
    "def f(:",
    "(" * 5000 + ")" * 5000,
    "-" * 100_000 + "1",
    "x" + "[0]" * 20_000,
    "a = 1\n" * 100_000,
    "9" * 10_000,
    "'\\d'",
    "é = 1",
    "if x:\n" + "".join("  " * depth + "if x:\n" for depth in range(1, 99)) + "  " * 99 + "pass",
    " + ".join(["1"] * 5000),
]


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("index", range(len(HOSTILE)))
def test_no_program_is_too_strange_to_be_measured(measure, index):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = MEASURES[measure](response(HOSTILE[index]))
    assert isinstance(value, float)
    assert value == value


def test_a_later_measure_decides_only_what_the_first_leaves_equal():
    broken, linty, long, short = "def f(:", "import os\nx = 1", "x = 1\ny = 2", "y = 1"
    assert order(Static(), broken, linty, long, short) == [[3], [2], [1], [0]]
    assert order(Static(["parses"]), broken, linty, long, short) == [[1, 2, 3], [0]]
    assert order(Static(["length", "parses"]), long, linty, short)[0] == [2]


def test_the_shorter_wins_only_among_programs_that_may_be_right():
    assert order(Preference(), "x = 1", "print(x)", "x = 1\ny = 2") == [[0], [2], [1]]
    assert order(Preference(), "x = 1", "x = 1\ny = 2", passed=False) == [[0, 1]]
    assert order(Preference(["documented"]), "x = 1", GOOD, passed=True) == [[1], [0]]


def test_an_unknown_measure_is_one_line_and_what_was_done_is_counted():
    with pytest.raises(ConfigError, match="preference: no measure 'quite': did you mean 'quiet'"):
        Preference(["quite"])
    with pytest.raises(ConfigError, match="no measure"):
        Static([])
    ranker = Static(["parses"])
    order(ranker, "a", "b")
    order(ranker, "a", "b(")
    assert ranker.report() == {"measures": ["parses"], "contests": 2, "ordered": 1}


def test_contests_are_of_two_and_more():
    assert contests([PROBLEM], [response("a")]) == []
    (found,) = contests([PROBLEM], [response("a"), response("b")])
    assert len(found.responses) == 2
    assert found.passed is None


def test_scores_from_keys_and_from_margins():
    assert dense({"a": (1, 2), "b": (1, 3), "c": (1, 2)}) == {"a": 0, "b": 1, "c": 0}
    assert dense({"a": 5}) == {"a": 0}
    assert with_margin({"a": 3.0, "b": 2.5, "c": 2.0}, 1) == ({"a": 2.75, "b": 2.75, "c": 2.0}, frozenset({("b", "c")}))
    assert with_margin({"a": 3.0, "b": 2.5, "c": 2.5}, 0) == ({"a": 3.0, "b": 2.5, "c": 2.5}, frozenset())
    assert with_margin({}, 1) == ({}, frozenset())
