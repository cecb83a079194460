"""A user's own function as a ranker."""

import numpy as np
import pytest

from align.errors import ConfigError
from align.rank.custom import Custom
from align.rank.protocol import contests
from align.schema import Problem, Response

PROBLEM = Problem(prompt="Add.")
RESPONSES = [Response(problem_id=PROBLEM.id, text=text) for text in ("a", "bb")]


def scored(function, **options):
    (scores,) = Custom(function, **options).rank(contests([PROBLEM], RESPONSES))
    return [scores.values.get(one.id) for one in RESPONSES]


def by_length(problem, response):
    assert problem is PROBLEM
    return len(response.text)


def test_a_function_scores_and_none_is_not_ranked():
    assert scored(by_length) == [1, 2]
    assert scored(lambda problem, response: None if response.text == "a" else np.float32(0.5)) == [None, 0.5]
    ranker = Custom(by_length)
    assert ranker.name == "by_length"
    assert Custom(by_length, name="length").name == "length"


def test_a_function_is_found_in_a_module_and_in_a_file(tmp_path, monkeypatch):
    (tmp_path / "own_ranker.py").write_text("def score(problem, response):\n    return len(response.text) * 2\n")
    assert scored(f"{tmp_path}/own_ranker.py:score") == [2, 4]
    monkeypatch.syspath_prepend(tmp_path)
    assert scored("own_ranker:score") == [2, 4]


def raises(problem, response):
    raise KeyError(response.text)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (raises, f"raises: response {RESPONSES[0].id} of problem {PROBLEM.id}: raised KeyError: 'a'"),
        (lambda problem, response: "7", "returned '7': return a finite number, or None"),
        (lambda problem, response: float("nan"), "returned 'nan'"),
        (lambda problem, response: float("inf"), "returned 'inf'"),
        (lambda problem, response: [1], "returned '\\[1\\]'"),
        (lambda problem, response: 10**400, "return a finite number"),
        (lambda problem: 1, "raised TypeError"),
    ],
)
def test_a_fault_of_the_function_names_it_and_the_response(function, message):
    with pytest.raises(ConfigError, match=message):
        scored(function)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere", "expected module:function"),
        ("no.such.module:f", "cannot be imported \\(ModuleNotFoundError"),
        ("missing.py:f", "cannot be imported \\(FileNotFoundError"),
        ("math:squrt", "no function 'squrt': did you mean 'sqrt'"),
        ("math:pi", "no function 'pi'"),
    ],
)
def test_a_function_that_is_not_there_is_one_line(place, message):
    with pytest.raises(ConfigError, match=message):
        Custom(place)


def test_a_file_that_does_not_import_is_named(tmp_path):
    (tmp_path / "broken.py").write_text("def f(:\n")
    with pytest.raises(ConfigError, match=r"broken\.py:f: cannot be imported \(SyntaxError"):
        Custom(f"{tmp_path}/broken.py:f")
